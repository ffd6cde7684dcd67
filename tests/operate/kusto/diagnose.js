// Microsoft's own Kusto parser over queries: {"tables": {name: schema}, "queries": {name: text}} on standard
// input; for each query what it finds wrong, and the columns of its result, on standard output.
"use strict";
const fs = require("fs");

const PACKAGE = "@kusto/language-service-next/";
require(PACKAGE + "bridge.min.js");
require(PACKAGE + "Kusto.Language.Bridge.min.js");
const { KustoCode, GlobalState, Symbols } = Kusto.Language;

const list = (bridged) => Array.from({ length: bridged.Count }, (_, i) => bridged.getItem(i));

const asked = JSON.parse(fs.readFileSync(0, "utf8"));
// $ctor7 is the constructor from a name, a schema as text, and a description.
const tables = Object.entries(asked.tables).map(([name, schema]) => new Symbols.TableSymbol.$ctor7(name, schema, null));
const globals = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.ctor("logs", tables));

const found = {};
for (const [name, text] of Object.entries(asked.queries)) {
  const code = KustoCode.ParseAndAnalyze(text, globals);
  const columns = code.ResultType && code.ResultType.Columns ? list(code.ResultType.Columns) : [];
  found[name] = {
    problems: list(code.GetDiagnostics()).map((one) => `${one.Severity}: ${one.Message}`),
    columns: Object.fromEntries(columns.map((one) => [one.Name, one.Type.Name])),
  };
}
console.log(JSON.stringify(found));

// One page on how the app is doing: the directory, and the validation of credentials.
// The queries are files, so that the tests can run them; `docs/operate.md` says how to read the page.

@description('Makes the name of the workbook its own.')
param token string

param location string
param tags object

@description('The workspace with the app\'s logs. The page is listed there.')
param workspaceId string

var events = loadTextContent('../queries/events.kql')
var day = 86400000

var directory = [
  {
    name: 'last-published'
    title: 'The last published directory'
    query: loadTextContent('../queries/workbook/last-published.kql')
    shape: 'table'
    width: '100'
  }
  {
    name: 'troubles'
    title: 'Troubles, the latest first'
    query: loadTextContent('../queries/workbook/troubles.kql')
    shape: 'table'
    width: '100'
  }
  {
    name: 'rows'
    title: 'Users, groups, memberships'
    query: loadTextContent('../queries/workbook/rows.kql')
    shape: 'linechart'
    width: '50'
  }
  {
    name: 'changes'
    title: 'Changes a run'
    query: loadTextContent('../queries/workbook/changes.kql')
    shape: 'linechart'
    width: '50'
  }
  {
    name: 'duration'
    title: 'Seconds from start to publication'
    query: loadTextContent('../queries/workbook/duration.kql')
    shape: 'linechart'
    width: '50'
  }
  {
    name: 'graph'
    title: 'Requests to Microsoft Graph'
    query: loadTextContent('../queries/workbook/graph.kql')
    shape: 'linechart'
    width: '50'
  }
  {
    name: 'throttling'
    title: 'Where Graph asked to wait'
    query: loadTextContent('../queries/workbook/throttling.kql')
    shape: 'table'
    width: '50'
  }
  {
    name: 'drift'
    title: 'Drift: what the deltas had missed'
    query: loadTextContent('../queries/workbook/drift.kql')
    shape: 'table'
    width: '50'
  }
]

var credentials = [
  {
    name: 'verdicts'
    title: 'Credentials an hour, by verdict'
    query: loadTextContent('../queries/workbook/verdicts.kql')
    shape: 'barchart'
    width: '50'
  }
  {
    name: 'budgets'
    title: 'Attempts and suspects, and their limits'
    query: loadTextContent('../queries/workbook/budgets.kql')
    shape: 'linechart'
    width: '50'
  }
  {
    name: 'account-states'
    title: 'What stands behind the verdicts'
    query: loadTextContent('../queries/workbook/account-states.kql')
    shape: 'table'
    width: '50'
  }
  {
    name: 'refused-callers'
    title: 'Callers that were refused'
    query: loadTextContent('../queries/workbook/refused-callers.kql')
    shape: 'table'
    width: '50'
  }
  {
    name: 'unknown-codes'
    title: 'Codes of Entra that the app does not know'
    query: loadTextContent('../queries/workbook/unknown-codes.kql')
    shape: 'table'
    width: '50'
  }
]

var timeRange = {
  type: 9
  name: 'time'
  content: {
    version: 'KqlParameterItem/1.0'
    style: 'pills'
    queryType: 0
    resourceType: 'microsoft.operationalinsights/workspaces'
    parameters: [
      {
        id: guid('time')
        version: 'KqlParameterItem/1.0'
        name: 'TimeRange'
        label: 'Time'
        type: 4
        isRequired: true
        value: { durationMs: 7 * day }
        typeSettings: {
          selectableValues: [
            { durationMs: day }
            { durationMs: 7 * day }
            { durationMs: 30 * day }
            { durationMs: 90 * day }
          ]
          allowCustom: true
        }
      }
    ]
  }
}

var directoryItems = [for panel in directory: {
  type: 3
  name: panel.name
  customWidth: panel.width
  content: {
    version: 'KqlItem/1.0'
    title: panel.title
    query: '${events}\n${panel.query}'
    size: 1
    visualization: panel.shape
    timeContextFromParameter: 'TimeRange'
    queryType: 0
    resourceType: 'microsoft.operationalinsights/workspaces'
    crossComponentResources: [workspaceId]
  }
}]

var credentialItems = [for panel in credentials: {
  type: 3
  name: panel.name
  customWidth: panel.width
  content: {
    version: 'KqlItem/1.0'
    title: panel.title
    query: '${events}\n${panel.query}'
    size: 1
    visualization: panel.shape
    timeContextFromParameter: 'TimeRange'
    queryType: 0
    resourceType: 'microsoft.operationalinsights/workspaces'
    crossComponentResources: [workspaceId]
  }
}]

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, token, 'workbook')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Entra Connector'
    category: 'workbook'
    sourceId: workspaceId
    version: 'Notebook/1.0'
    serializedData: string({
      version: 'Notebook/1.0'
      fallbackResourceIds: [workspaceId]
      items: concat(
        [
          timeRange
          { type: 1, name: 'directory', content: { json: '## Directory' } }
        ],
        directoryItems,
        [
          { type: 1, name: 'credentials', content: { json: '## Credential validation' } }
        ],
        credentialItems
      )
    })
  }
}

output id string = workbook.id

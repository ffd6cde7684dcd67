// The rules that call for somebody, and whom they call. `docs/operate.md` has a section for each.
//
// Their scope is the workspace, not Application Insights: it holds the logs of this app alone, and those of the
// storage account besides. Each query gives one row with one number, `Value`. Nothing here needs a key: the
// count of messages in the poison queue would be a metric, but one of the whole account, and a day old.

@description('Names of everything here end in this.')
param token string

param location string
param tags object

@description('The workspace with the app\'s logs and those of its storage account.')
param workspaceId string

@description('E-mail addresses that alerts are sent to. When empty, alerts are still raised and shown in the portal.')
param alertEmails array

@description('Where the runbook is; each alert names its section.')
param runbook string = 'docs/operate.md'

@description('Hours without a published directory after which somebody is called.')
@minValue(1)
@maxValue(47)
param publishWithinHours int = 6

@description('Runs in a row that fail before somebody is called.')
@minValue(1)
@maxValue(24)
param failedRuns int = 3

@description('Refused calls of the webhook within an hour from which on somebody is called.')
@minValue(1)
param refusedCallers int = 20

@description('Unforeseen errors within an hour from which on somebody is called.')
@minValue(1)
param exceptions int = 5

var events = loadTextContent('../queries/events.kql')

// To be looked at within the hour. A rule reads as far back as its `range`.
var urgent = [
  {
    name: 'no-publish'
    title: 'No directory is published'
    query: loadTextContent('../queries/alerts/no-publish.kql')
    threshold: publishWithinHours
    range: 'P2D'
  }
  {
    name: 'validation-stopped'
    title: 'Validation has stopped itself'
    query: loadTextContent('../queries/alerts/validation-stopped.kql')
    threshold: 1
    range: 'P2D'
  }
  {
    name: 'host-start'
    title: 'The app does not start'
    query: loadTextContent('../queries/alerts/host-start.kql')
    threshold: 1
    range: 'PT1H'
  }
]

// To be looked at within the day.
var others = [
  {
    name: 'run-held'
    title: 'A run is held'
    query: loadTextContent('../queries/alerts/run-held.kql')
    threshold: 1
    range: 'P2D'
  }
  {
    name: 'runs-failing'
    title: 'Run after run fails'
    query: loadTextContent('../queries/alerts/runs-failing.kql')
    threshold: failedRuns
    range: 'P2D'
  }
  {
    name: 'poison-messages'
    title: 'Messages were given up'
    query: loadTextContent('../queries/alerts/poison-messages.kql')
    threshold: 1
    range: 'PT6H'
  }
  {
    name: 'secret-expires'
    title: 'A secret ends soon'
    query: loadTextContent('../queries/alerts/secret-expires.kql')
    threshold: 1
    range: 'P2D'
  }
  {
    name: 'validation-misconfigured'
    title: 'Credentials cannot be validated'
    query: loadTextContent('../queries/alerts/validation-misconfigured.kql')
    threshold: 1
    range: 'PT1H'
  }
  {
    name: 'callers-refused'
    title: 'Callers are refused'
    query: loadTextContent('../queries/alerts/callers-refused.kql')
    threshold: refusedCallers
    range: 'PT1H'
  }
  {
    name: 'exceptions'
    title: 'Errors that nobody foresaw'
    query: loadTextContent('../queries/alerts/exceptions.kql')
    threshold: exceptions
    range: 'PT1H'
  }
]

// Azure's longest; two days can be read all the same.
var longestWindow = 'P1D'

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' = if (!empty(alertEmails)) {
  name: 'ag-${token}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'entra-conn'
    enabled: true
    emailReceivers: [for address in alertEmails: {
      name: address
      emailAddress: address
      useCommonAlertSchema: true
    }]
  }
}

// Queries are not validated: a new workspace has no tables yet, they come with the first log.
resource urgentAlerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in urgent: {
  name: 'alert-${rule.name}-${token}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Entra Connector: ${rule.title}'
    description: 'What to do: ${runbook}#${rule.name}'
    severity: 1
    enabled: true
    scopes: [workspaceId]
    evaluationFrequency: 'PT15M'
    windowSize: rule.range == 'P2D' ? longestWindow : rule.range
    overrideQueryTimeRange: rule.range
    autoMitigate: true
    skipQueryValidation: true
    criteria: {
      allOf: [
        {
          query: '${events}\n${rule.query}'
          metricMeasureColumn: 'Value'
          timeAggregation: 'Maximum'
          operator: 'GreaterThanOrEqual'
          threshold: rule.threshold
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: empty(alertEmails) ? [] : [actionGroup.id]
    }
  }
}]

resource otherAlerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in others: {
  name: 'alert-${rule.name}-${token}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'Entra Connector: ${rule.title}'
    description: 'What to do: ${runbook}#${rule.name}'
    severity: 2
    enabled: true
    scopes: [workspaceId]
    evaluationFrequency: 'PT30M'
    windowSize: rule.range == 'P2D' ? longestWindow : rule.range
    overrideQueryTimeRange: rule.range
    autoMitigate: true
    skipQueryValidation: true
    criteria: {
      allOf: [
        {
          query: '${events}\n${rule.query}'
          metricMeasureColumn: 'Value'
          timeAggregation: 'Maximum'
          operator: 'GreaterThanOrEqual'
          threshold: rule.threshold
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: empty(alertEmails) ? [] : [actionGroup.id]
    }
  }
}]

output actionGroupId string = empty(alertEmails) ? '' : actionGroup.id

// The account that holds the directory: containers, queues and tables, each with the roles for it alone.

param name string
param location string
param tags object

@description('Storage redundancy, such as Standard_LRS.')
param skuName string

@description('The app\'s own identity.')
param appPrincipalId string

@description('The container that the directory is published to.')
param directoryContainer string

@description('The platform that reads the published directory: an object id, or blank.')
param readerPrincipalId string

@description('What that object id is.')
param readerPrincipalType string

@description('True for a queue that gets a message for every published run.')
param withEventQueue bool

@description('Days for which deleted and overwritten data can be had back.')
param protectionDays int

@description('Days for which the audit of credential validation is kept.')
param auditRetentionDays int

@description('Days for which nobody can change or delete a line of the audit; 0 for no such rule.')
param auditImmutabilityDays int

@description('True when private endpoints lead here: then only the addresses of ipRanges have another way in.')
param closed bool

@description('Public addresses that may come in although the account is closed.')
param ipRanges array

param workspaceId string

var roles = loadJsonContent('roles.json')

// These names stand in the app's code too; a test holds the two equal.
var stateContainer = 'sync-state'
var auditContainer = 'audit'
var containerNames = [directoryContainer, stateContainer, auditContainer]
var queueNames = ['directory-sync', 'directory-sync-poison']
var eventQueueName = 'directory-published'
var tableNames = ['validationusers', 'validationbudget', 'webhookrequests']

// A run is never under way for so long; the app sweeps its state itself, this takes what a crash left.
var leftoverDays = 14

resource account 'Microsoft.Storage/storageAccounts@2025-08-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: skuName
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    isLocalUserEnabled: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: closed && empty(ipRanges) ? 'Disabled' : 'Enabled'
    networkAcls: {
      // Event Grid delivers to the queue as a trusted service.
      bypass: withEventQueue ? 'AzureServices' : 'None'
      defaultAction: closed ? 'Deny' : 'Allow'
      ipRules: [for address in ipRanges: {
        value: address
        action: 'Allow'
      }]
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-08-01' = {
  parent: account
  name: 'default'
  properties: {
    isVersioningEnabled: true
    deleteRetentionPolicy: {
      enabled: true
      days: protectionDays
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: protectionDays
    }
  }
}

resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-08-01' = [for container in containerNames: {
  parent: blobs
  name: container
  properties: {
    publicAccess: 'None'
  }
}]

// Not locked: locking cannot be undone, so that is left to the owner of the data.
resource auditImmutability 'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies@2025-08-01' = if (auditImmutabilityDays > 0) {
  parent: containers[2]
  name: 'default'
  properties: {
    immutabilityPeriodSinceCreationInDays: max(auditImmutabilityDays, 1)
    allowProtectedAppendWrites: true
  }
}

// No rule deletes what the pointer reaches, or what the next run needs (sync-state/published, sync-state/kept).
resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-08-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'old-versions'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: {
              blobTypes: ['blockBlob', 'appendBlob']
            }
            actions: {
              version: {
                delete: {
                  daysAfterCreationGreaterThan: protectionDays
                }
              }
            }
          }
        }
        {
          name: 'leftovers-of-runs'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: {
              blobTypes: ['blockBlob', 'appendBlob']
              prefixMatch: ['sync-state/runs/']
            }
            actions: {
              baseBlob: {
                delete: {
                  daysAfterModificationGreaterThan: leftoverDays
                }
              }
            }
          }
        }
        {
          name: 'old-audit'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: {
              blobTypes: ['appendBlob']
              prefixMatch: ['audit/']
            }
            actions: {
              baseBlob: {
                delete: {
                  daysAfterModificationGreaterThan: max(auditRetentionDays, auditImmutabilityDays)
                }
              }
            }
          }
        }
      ]
    }
  }
  dependsOn: [blobs]
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-08-01' = {
  parent: account
  name: 'default'
}

resource queues 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-08-01' = [for queue in queueNames: {
  parent: queueService
  name: queue
}]

resource eventQueue 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-08-01' = if (withEventQueue) {
  parent: queueService
  name: eventQueueName
}

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2025-08-01' = {
  parent: account
  name: 'default'
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-08-01' = [for table in tableNames: {
  parent: tableService
  name: table
}]

resource appOnContainers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (container, i) in containerNames: {
  name: guid(containers[i].id, appPrincipalId, roles.storageBlobDataContributor)
  scope: containers[i]
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataContributor)
  }
}]

resource appOnQueues 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (queue, i) in queueNames: {
  name: guid(queues[i].id, appPrincipalId, roles.storageQueueDataContributor)
  scope: queues[i]
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageQueueDataContributor)
  }
}]

resource appOnTables 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (table, i) in tableNames: {
  name: guid(tables[i].id, appPrincipalId, roles.storageTableDataContributor)
  scope: tables[i]
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageTableDataContributor)
  }
}]

// The platform reads one container, and takes messages from one queue; it can change neither.
resource readerOnDirectory 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(readerPrincipalId)) {
  name: guid(containers[0].id, readerPrincipalId, roles.storageBlobDataReader)
  scope: containers[0]
  properties: {
    principalId: readerPrincipalId
    principalType: readerPrincipalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataReader)
  }
}

resource readerOnEvents 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (withEventQueue && !empty(readerPrincipalId)) {
  name: guid(eventQueue.id, readerPrincipalId, roles.storageQueueDataMessageProcessor)
  scope: eventQueue
  properties: {
    principalId: readerPrincipalId
    principalType: readerPrincipalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageQueueDataMessageProcessor)
  }
}

// Who read the directory, and who changed it.
resource blobLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: blobs
  properties: {
    workspaceId: workspaceId
    logs: [
      { category: 'StorageRead', enabled: true }
      { category: 'StorageWrite', enabled: true }
      { category: 'StorageDelete', enabled: true }
    ]
  }
}

// Without reads: the host polls the queue day and night.
resource queueLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: queueService
  properties: {
    workspaceId: workspaceId
    logs: [
      { category: 'StorageWrite', enabled: true }
      { category: 'StorageDelete', enabled: true }
    ]
  }
}

resource tableLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: tableService
  properties: {
    workspaceId: workspaceId
    logs: [
      { category: 'StorageRead', enabled: true }
      { category: 'StorageWrite', enabled: true }
      { category: 'StorageDelete', enabled: true }
    ]
  }
}

output id string = account.id
output name string = account.name
output blobUri string = 'https://${account.name}.blob.${environment().suffixes.storage}'
output queueUri string = 'https://${account.name}.queue.${environment().suffixes.storage}'
output tableUri string = 'https://${account.name}.table.${environment().suffixes.storage}'
output directoryContainerUrl string = 'https://${account.name}.blob.${environment().suffixes.storage}/${directoryContainer}'
output eventQueueName string = withEventQueue ? eventQueueName : ''

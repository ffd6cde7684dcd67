// The Functions host's own account: its locks, function keys and timer state, and the deployment package.
// Nothing of the directory lies here, so the host's broad role reaches nothing of it.

param name string
param location string
param tags object

@description('Storage redundancy, such as Standard_LRS.')
param skuName string

@description('The app\'s own identity.')
param appPrincipalId string

@description('Days for which deleted data and replaced packages can be had back.')
param protectionDays int

@description('True when private endpoints lead here: then there is no other way in.')
param closed bool

param workspaceId string

var roles = loadJsonContent('roles.json')
var packageContainer = 'app-package'

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
    publicNetworkAccess: closed ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'None'
      defaultAction: closed ? 'Deny' : 'Allow'
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

  resource package 'containers' = {
    name: packageContainer
    properties: {
      publicAccess: 'None'
    }
  }
}

// Only replaced packages ever go: a new instance starts from the current one, however old that is.
resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-08-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'replaced-packages-and-host-state'
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
      ]
    }
  }
  dependsOn: [blobs]
}

// What the host asks for: it creates its own containers, queues and tables, and takes leases.
var hostRoles = [
  roles.storageBlobDataOwner
  roles.storageQueueDataContributor
  roles.storageTableDataContributor
]

resource hostAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for role in hostRoles: {
  name: guid(account.id, appPrincipalId, role)
  scope: account
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
  }
}]

// Who replaced the package, or the function keys.
resource blobLogs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: blobs
  properties: {
    workspaceId: workspaceId
    logs: [
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
output packageContainerUrl string = 'https://${account.name}.blob.${environment().suffixes.storage}/${packageContainer}'

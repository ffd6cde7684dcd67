// The function app on a Flex Consumption plan. It has no key to anything: one identity, and roles elsewhere.

param name string
param location string
param tags object

@description('Resource id of the app\'s own, user-assigned identity.')
param identityId string

@description('The app settings, by name.')
param settings object

@description('The container that a deployment puts the package into.')
param packageContainerUrl string

param instanceMemoryMB int
param maximumInstanceCount int

@description('Instances that wait for HTTP requests, so that the first caller need not; 0 for none.')
param alwaysReadyHttpInstances int

@description('Addresses that may call the app; everybody when empty.')
param ipRanges array

@description('The subnet that the app\'s outbound calls leave by; blank for none.')
param subnetId string

param workspaceId string

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: 'plan-${name}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    tier: 'FlexConsumption'
    name: 'FC1'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'app' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: 'Enabled'
    clientAffinityEnabled: false
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageContainerUrl
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
        alwaysReady: alwaysReadyHttpInstances == 0 ? [] : [
          {
            name: 'http'
            instanceCount: alwaysReadyHttpInstances
          }
        ]
      }
    }
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      http20Enabled: true
      appSettings: [for setting in items(settings): {
        name: setting.key
        value: setting.value
      }]
      ipSecurityRestrictionsDefaultAction: empty(ipRanges) ? 'Allow' : 'Deny'
      ipSecurityRestrictions: [for i in range(0, length(ipRanges)): {
        name: 'caller-${i}'
        priority: 100 + i
        action: 'Allow'
        ipAddress: ipRanges[i]
      }]
      // The deployment endpoint asks for an Entra token; callers' addresses say nothing about deployers'.
      scmIpSecurityRestrictionsUseMain: false
    }
  }

  resource noFtpPassword 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: {
      allow: false
    }
  }

  resource noDeploymentPassword 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: {
      allow: false
    }
  }
}

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: app
  properties: {
    workspaceId: workspaceId
    logs: [
      { category: 'FunctionAppLogs', enabled: true }
    ]
  }
}

output id string = app.id
output name string = app.name
output hostname string = app.properties.defaultHostName

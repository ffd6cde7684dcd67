// Entra Connector in one resource group: the app, its identity, storage, vault and logs.
//
// The scope is the resource group on purpose: who deploys needs rights on this group alone (Contributor, and
// Role Based Access Control Administrator for the roles below), never on the subscription. Permissions in
// Microsoft Graph are a directory administrator's affair and stand in graph.bicep and grant-permissions.sh.
targetScope = 'resourceGroup'

// ---------------------------------------------------------------------------------------- where and how large

@description('Part of every name, so that several installations can share a resource group.')
@minLength(2)
@maxLength(32)
param environmentName string = 'entra-connector'

@description('The region of everything here.')
param location string = resourceGroup().location

@description('Tags for everything here.')
param tags object = {}

@description('The name of the function app, unique in Azure; blank for one made from environmentName and the resource group.')
param functionAppName string = ''

@description('Memory of one instance. 2048 has one CPU core; 4096, with two, is for directories of a million users.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('How many instances Azure may start at most. The app paces itself; more do not make Microsoft Graph faster.')
@minValue(40)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Instances that wait for the webhook, so that the first caller need not wait for a cold start. Each is billed day and night.')
@minValue(0)
@maxValue(20)
param alwaysReadyHttpInstances int = 0

@description('Redundancy of both storage accounts. What is lost can be read again from Microsoft Graph, except the audit.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
param storageRedundancy string = 'Standard_LRS'

// ------------------------------------------------------------------------------------------- who may do what

@description('Object id of the platform\'s service principal, group or managed identity in this tenant. It gets read access to the published directory and to nothing else; blank for nobody.')
param readerPrincipalId string = ''

@description('What readerPrincipalId is.')
@allowed(['ServicePrincipal', 'Group', 'User'])
param readerPrincipalType string = 'ServicePrincipal'

@description('Object id of who stores and rotates the secrets in Key Vault; blank for nobody.')
param operatorPrincipalId string = ''

@description('What operatorPrincipalId is.')
@allowed(['User', 'Group', 'ServicePrincipal'])
param operatorPrincipalType string = 'User'

// ---------------------------------------------------------------------------------------------------- network

@description('Closes both storage accounts and the vault, and leads the app to them through private endpoints.')
param privateNetwork bool = false

@description('Lets the app\'s calls leave by one fixed public address, behind a NAT gateway: for Conditional Access and for the exceptions of a SIEM.')
param fixedEgressAddress bool = false

@description('Address space of the virtual network, a /24 or larger; only with privateNetwork or fixedEgressAddress.')
param networkAddressPrefix string = '10.80.0.0/24'

@description('With privateNetwork: public addresses or ranges from which the published directory can still be read. Storage takes a single address without /32.')
param readerIpRanges array = []

@description('With privateNetwork: public addresses or ranges from which secrets can still be stored in the vault.')
param operatorIpRanges array = []

@description('The only ranges, in CIDR form, that may call the app over HTTPS; everybody with a key when empty.')
param callerIpRanges array = []

// -------------------------------------------------------------------------------------------------- retention

@description('Days for which deleted and overwritten data, and replaced packages, can be had back.')
@minValue(1)
@maxValue(365)
param dataProtectionDays int = 7

@description('Days for which the audit of credential validation is kept.')
@minValue(1)
@maxValue(3650)
param auditRetentionDays int = 365

@description('Days for which nobody, the app included, can change or delete a line of the audit; 0 for no such rule.')
@minValue(0)
@maxValue(3650)
param auditImmutabilityDays int = 0

@description('Days for which logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90

@description('Logs stop for the day at so many GB, so that no fault runs up a bill; -1 for no limit.')
@minValue(-1)
@maxValue(100)
param logDailyCapGb int = 1

@description('Alerts are sent to this e-mail address, or to several with commas between them; blank for none.')
param alertEmail string = ''

@description('Hours without a published directory after which an alert is raised.')
@minValue(1)
@maxValue(47)
param publishWithinHours int = 6

@description('Who is told as soon as a run is published: nobody, a queue beside the directory, or a webhook.')
@allowed(['none', 'queue', 'webhook'])
param publishEventsTo string = 'none'

@description('The webhook for publishEventsTo.')
@secure()
param publishEventsWebhookUrl string = ''

// -------------------------------------------------------------- the app's settings, explained in docs/settings.md

@description('Setting ENTRA_TENANT_ID.')
param entraTenantId string = tenant().tenantId

@description('Setting ENTRA_CLIENT_ID.')
param entraClientId string = ''

@description('Setting ENTRA_CREDENTIAL. A managed identity has nothing that can leak or expire.')
@allowed(['managed-identity', 'federated', 'certificate', 'client-secret'])
param entraCredential string = 'managed-identity'

@description('Setting ENTRA_CLOUD.')
@allowed(['public', 'usgov', 'usgov-dod', 'china'])
param entraCloud string = environment().name == 'AzureUSGovernment' ? 'usgov' : environment().name == 'AzureChinaCloud' ? 'china' : 'public'

@description('Setting SECRET_TTL_SECONDS.')
@minValue(0)
@maxValue(86400)
param secretTtlSeconds int = 300

@description('Setting DIRECTORY_CONTAINER.')
@minLength(3)
@maxLength(63)
param directoryContainer string = 'directory'

@description('Setting DIRECTORY_DATASETS.')
param directoryDatasets string = 'users,groups,memberships,authentication'

@description('Setting DIRECTORY_FORMATS.')
param directoryFormats string = 'ocsf'

@description('Setting SYNC_SCHEDULE.')
param syncSchedule string = '0 0 * * * *'

@description('Setting SYNC_FULL_EVERY.')
param syncFullEvery string = '7d'

@description('Setting SYNC_SLICE_SECONDS.')
@minValue(10)
@maxValue(1500)
param syncSliceSeconds int = 120

@description('Setting SYNC_MAX_REMOVAL_PERCENT.')
@minValue(0)
@maxValue(100)
param syncMaxRemovalPercent int = 20

@description('Setting SYNC_ACCEPT_SHRINK.')
param syncAcceptShrink string = ''

@description('Setting SYNC_KEEP_RUNS.')
@minValue(1)
@maxValue(1000)
param syncKeepRuns int = 30

@description('Setting VALIDATION_ENABLED.')
param validationEnabled bool = true

@description('Setting VALIDATION_CLIENT_ID.')
param validationClientId string = ''

@description('Setting VALIDATION_ATTEMPTS_PER_USER_PER_DAY; blank for the default of the cloud.')
param validationAttemptsPerUserPerDay string = ''

@description('Setting VALIDATION_ATTEMPTS_PER_DAY.')
@minValue(0)
@maxValue(100000)
param validationAttemptsPerDay int = 200

@description('Setting VALIDATION_FAILING_USERS_PER_20_MIN.')
@minValue(0)
@maxValue(1000)
param validationFailingUsersPer20Min int = 4

@description('Setting VALIDATION_SPACING_SECONDS.')
@minValue(0)
@maxValue(86400)
param validationSpacingSeconds int = 900

@description('Setting VALIDATION_LOCKOUT_PAUSE_SECONDS.')
@minValue(0)
@maxValue(2592000)
param validationLockoutPauseSeconds int = 86400

@description('Setting VALIDATION_EXCLUDED_GROUP.')
param validationExcludedGroup string = ''

@description('Setting WEBHOOK_AUTH.')
@allowed(['standard-webhooks', 'flare', 'entra-token'])
param webhookAuth string = 'standard-webhooks'

@description('Setting WEBHOOK_AUDIENCE.')
param webhookAudience string = ''

@description('Setting WEBHOOK_ALLOWED_CLIENTS.')
param webhookAllowedClients string = ''

@description('Setting WEBHOOK_ROLE.')
param webhookRole string = ''

// ------------------------------------------------------------------------------------------------- what is made

var unique = uniqueString(resourceGroup().id, environmentName)
var token = '${environmentName}-${take(unique, 6)}'
var allTags = union({ 'azd-env-name': environmentName }, tags)
var withNetwork = privateNetwork || fixedEgressAddress
var appName = empty(functionAppName) ? 'func-${token}' : functionAppName

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-${token}'
  location: location
  tags: allTags
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring-${take(unique, 6)}'
  params: {
    token: token
    location: location
    tags: allTags
    appPrincipalId: identity.properties.principalId
    retentionDays: logRetentionDays
    dailyCapGb: logDailyCapGb
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts-${take(unique, 6)}'
  params: {
    token: token
    location: location
    tags: allTags
    workspaceId: monitoring.outputs.workspaceId
    alertEmails: empty(alertEmail) ? [] : map(split(alertEmail, ','), address => trim(address))
    publishWithinHours: publishWithinHours
  }
}

module workbook 'modules/workbook.bicep' = {
  name: 'workbook-${take(unique, 6)}'
  params: {
    token: token
    location: location
    tags: allTags
    workspaceId: monitoring.outputs.workspaceId
  }
}

module hostStorage 'modules/host-storage.bicep' = {
  name: 'host-storage-${take(unique, 6)}'
  params: {
    name: 'sthost${unique}'
    location: location
    tags: allTags
    skuName: storageRedundancy
    appPrincipalId: identity.properties.principalId
    protectionDays: dataProtectionDays
    closed: privateNetwork
    workspaceId: monitoring.outputs.workspaceId
  }
}

module dataStorage 'modules/data-storage.bicep' = {
  name: 'data-storage-${take(unique, 6)}'
  params: {
    name: 'stdata${unique}'
    location: location
    tags: allTags
    skuName: storageRedundancy
    appPrincipalId: identity.properties.principalId
    directoryContainer: directoryContainer
    readerPrincipalId: readerPrincipalId
    readerPrincipalType: readerPrincipalType
    withEventQueue: publishEventsTo == 'queue'
    protectionDays: dataProtectionDays
    auditRetentionDays: auditRetentionDays
    auditImmutabilityDays: auditImmutabilityDays
    closed: privateNetwork
    ipRanges: readerIpRanges
    workspaceId: monitoring.outputs.workspaceId
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault-${take(unique, 6)}'
  params: {
    name: 'kv-${unique}'
    location: location
    tags: allTags
    appPrincipalId: identity.properties.principalId
    operatorPrincipalId: operatorPrincipalId
    operatorPrincipalType: operatorPrincipalType
    closed: privateNetwork
    ipRanges: operatorIpRanges
    workspaceId: monitoring.outputs.workspaceId
  }
}

module network 'modules/network.bicep' = if (withNetwork) {
  name: 'network-${take(unique, 6)}'
  params: {
    token: token
    location: location
    tags: allTags
    addressPrefix: networkAddressPrefix
    privateEndpoints: privateNetwork
    fixedEgressAddress: fixedEgressAddress
  }
}

var endpoints = privateNetwork ? [
  { target: 'host', service: 'blob' }
  { target: 'host', service: 'queue' }
  { target: 'host', service: 'table' }
  { target: 'data', service: 'blob' }
  { target: 'data', service: 'queue' }
  { target: 'data', service: 'table' }
  { target: 'secrets', service: 'vault' }
] : []

module privateEndpoints 'modules/private-endpoint.bicep' = [for endpoint in endpoints: {
  name: 'endpoint-${endpoint.target}-${endpoint.service}-${take(unique, 6)}'
  params: {
    name: 'pe-${endpoint.target}-${endpoint.service}-${token}'
    location: location
    tags: allTags
    targetId: endpoint.target == 'host' ? hostStorage.outputs.id : endpoint.target == 'data' ? dataStorage.outputs.id : vault.outputs.id
    service: endpoint.service
    subnetId: network!.outputs.endpointSubnetId
    zoneId: endpoint.service == 'blob' ? network!.outputs.blobZoneId : endpoint.service == 'queue' ? network!.outputs.queueZoneId : endpoint.service == 'table' ? network!.outputs.tableZoneId : network!.outputs.vaultZoneId
  }
}]

module app 'modules/app.bicep' = {
  name: 'app-${take(unique, 6)}'
  params: {
    name: appName
    location: location
    tags: allTags
    identityId: identity.id
    packageContainerUrl: hostStorage.outputs.packageContainerUrl
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    alwaysReadyHttpInstances: alwaysReadyHttpInstances
    ipRanges: callerIpRanges
    subnetId: withNetwork ? network!.outputs.appSubnetId : ''
    workspaceId: monitoring.outputs.workspaceId
    settings: {
      // The host's own storage, by identity.
      AzureWebJobsStorage__credential: 'managedidentity'
      AzureWebJobsStorage__clientId: identity.properties.clientId
      AzureWebJobsStorage__blobServiceUri: hostStorage.outputs.blobUri
      AzureWebJobsStorage__queueServiceUri: hostStorage.outputs.queueUri
      AzureWebJobsStorage__tableServiceUri: hostStorage.outputs.tableUri
      APPLICATIONINSIGHTS_CONNECTION_STRING: monitoring.outputs.connectionString
      APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.properties.clientId};Authorization=AAD'
      // The two that only the host reads, for the queue trigger.
      DIRECTORY_STORAGE__credential: 'managedidentity'
      DIRECTORY_STORAGE__clientId: identity.properties.clientId
      DIRECTORY_STORAGE__blobServiceUri: dataStorage.outputs.blobUri
      DIRECTORY_STORAGE__queueServiceUri: dataStorage.outputs.queueUri
      DIRECTORY_STORAGE__tableServiceUri: dataStorage.outputs.tableUri
      AZURE_CLIENT_ID: identity.properties.clientId
      KEY_VAULT_URL: vault.outputs.uri
      ENTRA_TENANT_ID: entraTenantId
      ENTRA_CLIENT_ID: entraClientId
      ENTRA_CREDENTIAL: entraCredential
      ENTRA_CLOUD: entraCloud
      SECRET_TTL_SECONDS: string(secretTtlSeconds)
      DIRECTORY_CONTAINER: directoryContainer
      DIRECTORY_DATASETS: directoryDatasets
      DIRECTORY_FORMATS: directoryFormats
      SYNC_SCHEDULE: syncSchedule
      SYNC_FULL_EVERY: syncFullEvery
      SYNC_SLICE_SECONDS: string(syncSliceSeconds)
      SYNC_MAX_REMOVAL_PERCENT: string(syncMaxRemovalPercent)
      SYNC_ACCEPT_SHRINK: syncAcceptShrink
      SYNC_KEEP_RUNS: string(syncKeepRuns)
      // string(true) would be 'True'.
      VALIDATION_ENABLED: validationEnabled ? 'true' : 'false'
      VALIDATION_CLIENT_ID: validationClientId
      VALIDATION_ATTEMPTS_PER_USER_PER_DAY: validationAttemptsPerUserPerDay
      VALIDATION_ATTEMPTS_PER_DAY: string(validationAttemptsPerDay)
      VALIDATION_FAILING_USERS_PER_20_MIN: string(validationFailingUsersPer20Min)
      VALIDATION_SPACING_SECONDS: string(validationSpacingSeconds)
      VALIDATION_LOCKOUT_PAUSE_SECONDS: string(validationLockoutPauseSeconds)
      VALIDATION_EXCLUDED_GROUP: validationExcludedGroup
      WEBHOOK_AUTH: webhookAuth
      WEBHOOK_AUDIENCE: webhookAudience
      WEBHOOK_ALLOWED_CLIENTS: webhookAllowedClients
      WEBHOOK_ROLE: webhookRole
    }
  }
  // A host that starts before its endpoints looks the accounts up in public DNS, and is refused.
  dependsOn: [privateEndpoints]
}

module events 'modules/events.bicep' = if (publishEventsTo != 'none') {
  name: 'events-${take(unique, 6)}'
  params: {
    token: token
    location: location
    tags: allTags
    storageAccountName: dataStorage.outputs.name
    directoryContainer: directoryContainer
    queueName: dataStorage.outputs.eventQueueName
    webhookUrl: publishEventsWebhookUrl
  }
}

// ------------------------------------------------------------------------------------- what onboarding asks for

output FUNCTION_APP_NAME string = app.outputs.name
output FUNCTION_APP_HOSTNAME string = app.outputs.hostname
output FUNCTION_APP_ID string = app.outputs.id
output WEBHOOK_URL string = 'https://${app.outputs.hostname}/api/credentials/validate'
output APP_IDENTITY_NAME string = identity.name
output APP_IDENTITY_CLIENT_ID string = identity.properties.clientId
output APP_IDENTITY_PRINCIPAL_ID string = identity.properties.principalId
output VAULT_NAME string = vault.outputs.name
output VAULT_URI string = vault.outputs.uri
output DATA_STORAGE_NAME string = dataStorage.outputs.name
output DATA_STORAGE_ID string = dataStorage.outputs.id
output HOST_STORAGE_NAME string = hostStorage.outputs.name
output HOST_STORAGE_ID string = hostStorage.outputs.id
output DIRECTORY_CONTAINER_URL string = dataStorage.outputs.directoryContainerUrl
output EGRESS_ADDRESS string = fixedEgressAddress ? network!.outputs.egressAddress : ''
output LOG_WORKSPACE_ID string = monitoring.outputs.workspaceId
output APPLICATION_INSIGHTS_ID string = monitoring.outputs.insightsId
output ACTION_GROUP_ID string = alerts.outputs.actionGroupId

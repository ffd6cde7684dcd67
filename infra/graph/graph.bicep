// What a directory administrator grants once, as a template: permissions in Microsoft Graph for the app's
// identity or for an app registration that trusts it, and the app registration of the sign-in probe.
//
// Apart from main.bicep, since it asks for a Privileged Role Administrator, who need not own the subscription.
// The Graph extension is loaded by bicepconfig.json beside this file (Bicep 0.34 or newer), and works in the
// public cloud alone: grant-permissions.sh does the same in every cloud, and stores client secrets besides.
targetScope = 'resourceGroup'

@description('Object id of the app\'s managed identity: APP_IDENTITY_PRINCIPAL_ID of main.bicep.')
param identityPrincipalId string

@description('As ENTRA_CREDENTIAL: grant to the managed identity itself, or to an app registration that trusts it.')
@allowed(['managed-identity', 'federated'])
param credential string = 'managed-identity'

@description('What the app shall be able to do; docs/deploy.md says what each needs.')
param capabilities array = ['inventory', 'hidden-members', 'methods']

@description('The name of the app registration, with federated.')
param appName string = 'Entra Connector'

@description('Also make the app registration of the sign-in probe. Its secret: grant-permissions.sh validation-app.')
param withValidationApp bool = false

// A test holds this table equal to the one in grant-permissions.sh.
var permissionsFor = {
  inventory: ['User.Read.All', 'GroupMember.Read.All']
  'hidden-members': ['Member.Read.Hidden']
  methods: ['AuditLog.Read.All']
  'methods-each': ['UserAuthenticationMethod.Read.All']
  'sign-in': ['AuditLog.Read.All']
  'leave-date': ['User-LifeCycleInfo.Read.All']
  validation: ['Domain.Read.All']
  'lockout-policy': ['GroupSettings.Read.All']
}
var permissions = union(flatten(map(capabilities, capability => permissionsFor[capability])), [])
var federated = credential == 'federated'

resource graph 'Microsoft.Graph/servicePrincipals@v1.0' existing = {
  appId: '00000003-0000-0000-c000-000000000000'
}

resource application 'Microsoft.Graph/applications@v1.0' = if (federated) {
  uniqueName: 'entra-connector'
  displayName: appName
  signInAudience: 'AzureADMyOrg'
  requiredResourceAccess: [
    {
      resourceAppId: graph.appId
      resourceAccess: [for permission in permissions: {
        id: filter(graph.appRoles, role => role.value == permission)[0].id
        type: 'Role'
      }]
    }
  ]

  resource trust 'federatedIdentityCredentials' = {
    name: '${application.uniqueName}/managed-identity'
    issuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
    subject: identityPrincipalId
    audiences: ['api://AzureADTokenExchange']
  }
}

resource principal 'Microsoft.Graph/servicePrincipals@v1.0' = if (federated) {
  appId: application.appId
}

resource grants 'Microsoft.Graph/appRoleAssignedTo@v1.0' = [for permission in permissions: {
  appRoleId: filter(graph.appRoles, role => role.value == permission)[0].id
  principalId: federated ? principal.id : identityPrincipalId
  resourceId: graph.id
}]

// Confidential, single tenant, no permission, assignment required and nobody assigned: a right password ends
// in an error that says so, and never in a token.
resource validation 'Microsoft.Graph/applications@v1.0' = if (withValidationApp) {
  uniqueName: 'entra-connector-validation'
  displayName: '${appName} (password checks)'
  signInAudience: 'AzureADMyOrg'
  isFallbackPublicClient: false
}

resource validationPrincipal 'Microsoft.Graph/servicePrincipals@v1.0' = if (withValidationApp) {
  appId: validation.appId
  appRoleAssignmentRequired: true
}

output ENTRA_CLIENT_ID string = federated ? application.appId : ''
output VALIDATION_CLIENT_ID string = withValidationApp ? validation.appId : ''

// An optional virtual network: one subnet that the app's calls leave by, one for private endpoints, private
// DNS for these, and a NAT gateway, so that the app's calls to Microsoft Entra come from one address.

@description('Names of everything here end in this.')
param token string

param location string
param tags object

@description('Address space of the network: a /24 or larger.')
param addressPrefix string

@description('True for private endpoints\' DNS zones.')
param privateEndpoints bool

@description('True for a NAT gateway with one public address.')
param fixedEgressAddress bool

resource address 'Microsoft.Network/publicIPAddresses@2025-05-01' = if (fixedEgressAddress) {
  name: 'pip-${token}'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIPAllocationMethod: 'Static'
    publicIPAddressVersion: 'IPv4'
  }
}

resource gateway 'Microsoft.Network/natGateways@2025-05-01' = if (fixedEgressAddress) {
  name: 'ng-${token}'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    idleTimeoutInMinutes: 4
    publicIpAddresses: [
      { id: address.id }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2025-05-01' = {
  name: 'vnet-${token}'
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [addressPrefix]
    }
    subnets: [
      {
        // No underscore in the name: Flex Consumption refuses it.
        name: 'app'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 26, 0)
          natGateway: fixedEgressAddress ? { id: gateway.id } : null
          delegations: [
            {
              name: 'flex'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 26, 1)
          privateEndpointNetworkPolicies: 'Disabled'
        }
      }
    ]
  }
}

var zoneNames = privateEndpoints ? [
  'privatelink.blob.${environment().suffixes.storage}'
  'privatelink.queue.${environment().suffixes.storage}'
  'privatelink.table.${environment().suffixes.storage}'
  'privatelink${replace(environment().suffixes.keyvaultDns, '.vault.', '.vaultcore.')}'
] : []

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [for zone in zoneNames: {
  name: zone
  location: 'global'
  tags: tags
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (zone, i) in zoneNames: {
  parent: zones[i]
  name: 'to-network'
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: network.id
    }
  }
}]

output appSubnetId string = '${network.id}/subnets/app'
output endpointSubnetId string = '${network.id}/subnets/endpoints'
output blobZoneId string = privateEndpoints ? zones[0].id : ''
output queueZoneId string = privateEndpoints ? zones[1].id : ''
output tableZoneId string = privateEndpoints ? zones[2].id : ''
output vaultZoneId string = privateEndpoints ? zones[3].id : ''
output egressAddress string = fixedEgressAddress ? address!.properties.ipAddress : ''

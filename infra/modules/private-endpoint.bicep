// One private endpoint, with its name in private DNS.

param name string
param location string
param tags object

@description('The resource that it leads to.')
param targetId string

@description('Which service of that resource: blob, queue, table or vault.')
param service string

param subnetId string
param zoneId string

resource endpoint 'Microsoft.Network/privateEndpoints@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    subnet: {
      id: subnetId
    }
    privateLinkServiceConnections: [
      {
        name: service
        properties: {
          privateLinkServiceId: targetId
          groupIds: [service]
        }
      }
    ]
  }

  resource zone 'privateDnsZoneGroups' = {
    name: 'default'
    properties: {
      privateDnsZoneConfigs: [
        {
          name: service
          properties: {
            privateDnsZoneId: zoneId
          }
        }
      ]
    }
  }
}

// Tells somebody as soon as a run is published: when the pointer is written, to a queue or to a webhook.

param token string
param location string
param tags object

@description('The data storage account.')
param storageAccountName string

@description('The container that the directory is published to.')
param directoryContainer string

@description('The queue that gets the messages; blank when webhookUrl does.')
param queueName string

@description('Where to post to; blank when the queue gets the messages.')
@secure()
param webhookUrl string

var roles = loadJsonContent('roles.json')
var toQueue = !empty(queueName)

resource account 'Microsoft.Storage/storageAccounts@2025-08-01' existing = {
  name: storageAccountName

  resource queues 'queueServices' existing = {
    name: 'default'

    resource queue 'queues' existing = {
      name: toQueue ? queueName : 'none'
    }
  }
}

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: 'evgt-${token}'
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    source: account.id
    topicType: 'Microsoft.Storage.StorageAccounts'
  }
}

resource topicSends 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (toQueue) {
  name: guid(account::queues::queue.id, topic.id, roles.storageQueueDataMessageSender)
  scope: account::queues::queue
  properties: {
    principalId: topic.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageQueueDataMessageSender)
  }
}

var published = {
  includedEventTypes: ['Microsoft.Storage.BlobCreated']
  subjectBeginsWith: '/blobServices/default/containers/${directoryContainer}/blobs/current.json'
  subjectEndsWith: '/current.json'
  isSubjectCaseSensitive: true
}

resource intoQueue 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = if (toQueue) {
  parent: topic
  name: 'published-to-queue'
  properties: {
    eventDeliverySchema: 'EventGridSchema'
    filter: published
    deliveryWithResourceIdentity: {
      identity: {
        type: 'SystemAssigned'
      }
      destination: {
        endpointType: 'StorageQueue'
        properties: {
          resourceId: account.id
          queueName: queueName
          queueMessageTimeToLiveInSeconds: 604800
        }
      }
    }
  }
  dependsOn: [topicSends]
}

resource toWebhook 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = if (!toQueue) {
  parent: topic
  name: 'published-to-webhook'
  properties: {
    eventDeliverySchema: 'EventGridSchema'
    filter: published
    destination: {
      endpointType: 'WebHook'
      properties: {
        endpointUrl: webhookUrl
        minimumTlsVersionAllowed: '1.2'
      }
    }
  }
}

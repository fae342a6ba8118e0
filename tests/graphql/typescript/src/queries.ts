import { graphql } from "./gql/index.js";

/** A page of contacts, the highest engagement first. */
export const Hottest = graphql(`
  query Hottest($first: Int!, $after: String) {
    contacts(first: $first, after: $after, orderBy: [{ score: { model: "engagement", direction: DESC } }]) {
      totalCount
      totalCountIsExact
      nodes {
        id
        email
        name
        optedOut
        bounced
        engagement: score(model: "engagement") {
          ...Worth
        }
        fit: score(model: "fit") {
          ...Worth
        }
      }
      pageInfo {
        hasNextPage
        endCursor
      }
    }
  }

  fragment Worth on Score {
    value
    band {
      name
      color
    }
  }
`);

/** How many contacts are in each band. */
export const Spread = graphql(`
  query Spread($model: String!) {
    scoreDistribution(model: $model) {
      model {
        name
      }
      parts {
        band {
          name
        }
        contacts
        share
      }
    }
  }
`);

/** What happened to a contact, the newest first. */
export const Timeline = graphql(`
  query Timeline($id: ID!, $first: Int!) {
    contact(id: $id) {
      name
      timeline(first: $first) {
        nodes {
          __typename
          at
          ... on TimelineEvent {
            event {
              type
            }
          }
          ... on TimelineScore {
            change {
              model {
                name
              }
              was
              value
            }
          }
          ... on TimelineFlag {
            flag
            value
            reason
          }
          ... on TimelineSync {
            connection
            field
            reason
          }
        }
      }
    }
  }
`);

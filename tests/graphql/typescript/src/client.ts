import {
  type AnyVariables,
  type CombinedError,
  type TypedDocumentNode,
  Client,
  cacheExchange,
  fetchExchange,
} from "@urql/core";
import { persistedExchange } from "@urql/exchange-persisted";

/**
 * Sends each query whole only once, and from then on its hash. No `key` where a proxy adds it. `listed` is for a server
 * with an allow-list: then it sends the ids of src/gql/persisted-documents.json, and never a query.
 */
export function connect(url: string, key: string | null, listed = false): Client {
  const persisted = persistedExchange({
    preferGetForPersistedQueries: true,
    enforcePersistedQueries: listed,
    ...(listed && { generateHash: async (_, query) => idOf(query) }),
  });
  return new Client({
    url,
    exchanges: [cacheExchange, persisted, fetchExchange],
    fetchOptions: { headers: key === null ? {} : { authorization: `Bearer ${key}` } },
  });
}

function idOf(query: object): string | undefined {
  return (query as { __meta__?: { hash: string } }).__meta__?.hash;
}

/** The whole answer; throws the error if a part of it is missing. */
export async function ask<Data, Variables extends AnyVariables>(
  client: Client,
  query: TypedDocumentNode<Data, Variables>,
  variables: Variables,
): Promise<Data> {
  const { data, error } = await client.query(query, variables).toPromise();
  if (error !== undefined) throw error;
  if (data === undefined) throw new Error("neither data nor an error");
  return data;
}

/** What to decide by: `too_large`, `unavailable`, …; where no GraphQL was answered, the status, such as `401`. */
export function codeOf(error: CombinedError): string {
  return String(error.graphQLErrors[0]?.extensions["code"] ?? error.response?.status ?? "unreachable");
}

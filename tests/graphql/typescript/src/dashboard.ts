import { type Client, CombinedError } from "@urql/core";
import { ask, codeOf, connect } from "./client.js";
import type { HottestQuery, TimelineQuery } from "./gql/graphql.js";
import { Hottest, Spread, Timeline } from "./queries.js";

type Contacts = HottestQuery["contacts"];
type Contact = Contacts["nodes"][number];
type Item = NonNullable<TimelineQuery["contact"]>["timeline"]["nodes"][number];

async function show(client: Client): Promise<void> {
  const first = await page(client, null);
  if (first.pageInfo.hasNextPage) await page(client, first.pageInfo.endCursor);
  await spread(client);
  const [hottest] = first.nodes;
  if (hottest !== undefined) await timeline(client, hottest.id);
}

async function page(client: Client, after: string | null): Promise<Contacts> {
  const { contacts } = await ask(client, Hottest, { first: 5, after });
  const all = `${contacts.totalCountIsExact ? "" : "about "}${contacts.totalCount}`;
  console.log(after === null ? `Hottest of ${all}` : "Next");
  for (const one of contacts.nodes) {
    const said = [(one.email ?? one.id).padEnd(30), worth(one.engagement), worth(one.fit), ...flags(one)];
    console.log(said.join(" "));
  }
  return contacts;
}

function worth(score: Contact["engagement"]): string {
  const value = score?.value ?? null; // no score yet, or outside of the model's audience
  return `${value ?? "–"} ${score?.band?.name ?? "–"}`.padStart(10);
}

function flags({ optedOut, bounced }: Contact): string[] {
  return [...(optedOut ? ["opted-out"] : []), ...(bounced ? ["bounced"] : [])];
}

async function spread(client: Client): Promise<void> {
  const { scoreDistribution: found } = await ask(client, Spread, { model: "engagement" });
  console.log(`\n${found.model.name} by band`);
  for (const { band, contacts, share } of found.parts) {
    const bar = "█".repeat(Math.round(40 * share));
    console.log((band?.name ?? "below all").padEnd(10), String(contacts).padStart(6), bar);
  }
}

async function timeline(client: Client, id: string): Promise<void> {
  const { contact } = await ask(client, Timeline, { id, first: 8 });
  if (contact === null) return; // erased meanwhile
  console.log(`\nLatest of ${contact.name ?? id}`);
  for (const item of contact.timeline.nodes) console.log(item.at.slice(0, 16), described(item));
}

function described(item: Item): string {
  switch (item.__typename) {
    case "TimelineEvent":
      return item.event.type;
    case "TimelineScore":
      return `${item.change.model.name} ${item.change.was ?? "–"} → ${item.change.value ?? "–"}`;
    case "TimelineFlag":
      return `${item.flag} ${item.value ? "set" : "cleared"}, ${item.reason ?? "no reason given"}`;
    case "TimelineSync":
      return `${item.connection}: ${item.reason ?? "known there"}`;
  }
}

const { LEADTALLY_URL = "http://127.0.0.1:8000", LEADTALLY_KEY = null, LEADTALLY_LISTED } = process.env;
try {
  await show(connect(`${LEADTALLY_URL}/graphql`, LEADTALLY_KEY, LEADTALLY_LISTED === "1"));
} catch (error) {
  if (!(error instanceof CombinedError)) throw error;
  console.error(`${codeOf(error)}: ${error.message}`);
  process.exitCode = 1;
}

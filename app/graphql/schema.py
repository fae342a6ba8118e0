"""The schema: what can be asked, and how it is executed."""

from typing import Annotated

import strawberry
from graphql import GraphQLError
from strawberry.types import ExecutionContext

from app.errors import Fault, InvalidInput
from app.graphql.bounce_review import bounce_review
from app.graphql.connections import Connection, SyncRunPage, connections, sync_runs
from app.graphql.contacts import ContactConnection, contacts
from app.graphql.context import Info
from app.graphql.distribution import ScoreDistribution, score_distribution
from app.graphql.event_counts import EventCount, event_counts
from app.graphql.fields import resolved
from app.graphql.jobs import Job, jobs
from app.graphql.moves import ScoreMoves, score_moves
from app.graphql.nodes import Node, uuid
from app.graphql.refetching import address, contacts_by_emails, contacts_by_ids, node, nodes
from app.graphql.relay import Connection as Paged
from app.graphql.scoring import Rule, ScoringModel, rules_of
from app.graphql.segments import Segment, segment, segments
from app.graphql.subscriptions import ChangeCursors, Subscription, change_cursors
from app.graphql.suppressions import Suppression, suppressions
from app.graphql.timeline import TimelineEvent, TimelineFlag, TimelineScore, TimelineSync
from app.graphql.types import Contact


@strawberry.type(description="Contacts, scores, and what they are made of.")
class Query:
    contacts: ContactConnection = strawberry.field(
        resolver=contacts,
        description=(
            "Contacts by page. The hard-bounced with an engagement between 50 and 100, the highest first: "
            '`contacts(first: 50, filter: {score: {model: "engagement", gte: 50, lte: 100}, bounceStatus: HARD}, '
            'orderBy: [{score: {model: "engagement", direction: DESC}}]) { totalCount nodes { email } }`.'
        ),
    )

    @resolved("One contact, by id or by any address that points at them. Null: there is none.")
    async def contact(
        self,
        info: Info,
        id: Annotated[strawberry.ID | None, strawberry.argument(description="A UUID.")] = None,  # noqa: A002
        email: Annotated[
            str | None, strawberry.argument(description='In any case, also a former address: `"ada@example.com"`.')
        ] = None,
    ) -> Contact | None:
        if (id is None) == (email is None):
            raise InvalidInput(Fault("", "give 'id' or 'email', one of them"))
        if id is not None:
            person = await info.context.load.people.load(uuid(id, Fault("/id", "not a UUID")))
        else:
            person = await info.context.load.holders.load(address(email or "", "/email"))
        return None if person is None else Contact.of(person)

    contacts_by_ids: list[Contact | None] = strawberry.field(
        resolver=contacts_by_ids, description="Contacts by their ids, in the order of these. Null: there is none."
    )
    contacts_by_emails: list[Contact | None] = strawberry.field(
        resolver=contacts_by_emails,
        description="Contacts by any address that points at them, in the order of the addresses. Null: there is none.",
    )
    node: Node | None = strawberry.field(
        resolver=node, description="Whatever has this global id, of either API. Null: nothing has."
    )
    nodes: list[Node | None] = strawberry.field(
        resolver=nodes, description="Whatever has these global ids, in their order. Null: nothing has."
    )

    @resolved("The scoring models, by their keys.")
    async def scoring_models(
        self,
        info: Info,
        include_archived: Annotated[bool, strawberry.argument(description="Archived models, too.")] = False,
    ) -> list[ScoringModel]:
        models = (await info.context.load.catalog()).models
        return [ScoringModel.of(model) for model in models if include_archived or not model.archived]

    @resolved("One scoring model, archived or not. Null: there is none of that key.")
    async def scoring_model(
        self, info: Info, key: Annotated[str, strawberry.argument(description='For example `"engagement"`.')]
    ) -> ScoringModel | None:
        model = (await info.context.load.catalog()).find(key)
        return None if model is None else ScoringModel.of(model)

    @resolved(
        "The rules that count: of one model, archived or not, or of all that are not archived. While a model was "
        "never published, its draft's."
    )
    async def rules(
        self,
        info: Info,
        model: Annotated[
            str | None, strawberry.argument(description='The key of a scoring model: `"engagement"`. Null: of all.')
        ] = None,
    ) -> list[Rule]:
        catalog = await info.context.load.catalog()
        if model is not None:
            return await rules_of(catalog.named(model, "/model"), info)
        active = [one for one in catalog.models if not one.archived]
        await info.context.load.rules.load_many([one.id for one in active])
        return [rule for one in active for rule in await rules_of(one, info)]

    score_distribution: ScoreDistribution = strawberry.field(
        resolver=score_distribution,
        description="How many contacts are in each band, or bucket, of a model: "
        '`scoreDistribution(model: "engagement") { parts { band { name } contacts share } }`. Of everybody, an index '
        "alone is read; with a filter, the scores of whoever it keeps.",
    )
    score_moves: ScoreMoves = strawberry.field(
        resolver=score_moves,
        description="Who rose and who fell in a model since a moment, and from which band to which: "
        '`scoreMoves(model: "engagement", since: "2026-11-01T00:00:00Z") { rose fell bandMoves { was { name } '
        "now { name } contacts } }`.",
    )
    event_counts: list[EventCount] = strawberry.field(
        resolver=event_counts,
        description="How many events there were, by type, source or UTC day; by day, and of one day the most first: "
        '`eventCounts(groupBy: [DAY, TYPE], filter: {since: "2026-11-01T00:00:00Z"}) { day type count }`.',
    )
    bounce_review: ContactConnection = strawberry.field(
        resolver=bounce_review,
        description="Contacts whose address bounced hard, the latest first; to clean up by, also in the CRM: "
        "`bounceReview(first: 50) { nodes { email bouncedAt bounces { status diagnostic } bouncePenalties { points } "
        "crmLinks { connection object record } } }`.",
    )
    suppressions: Paged[Suppression] = strawberry.field(
        resolver=suppressions,
        description="Who must not be mailed, and why: first the entries of the list, then the contacts with a flag. "
        "Before you send, ask `POST /v1/suppressions/check`.",
    )
    segments: Paged[Segment] = strawberry.field(resolver=segments, description="The segments, by their keys.")
    segment: Segment | None = strawberry.field(
        resolver=segment, description="One segment, by its key. Null: there is none."
    )
    jobs: Paged[Job] = strawberry.field(resolver=jobs, description="Background jobs, the newest first.")
    connections: list[Connection] = strawberry.field(
        resolver=connections, description="The connections to CRMs, by their names."
    )
    change_cursors: ChangeCursors = strawberry.field(
        resolver=change_cursors, description="Where the changes stand now, for subscriptions to begin there."
    )
    sync_runs: SyncRunPage = strawberry.field(
        resolver=sync_runs, description="What was done for a connection in the last 30 days, the newest first."
    )


class _Schema(strawberry.Schema):
    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Nothing: Strawberry would log every mistake of a client. The router logs what is ours."""


def build() -> strawberry.Schema:
    return _Schema(
        Query,
        subscription=Subscription,
        types=[TimelineEvent, TimelineScore, TimelineFlag, TimelineSync],
    )

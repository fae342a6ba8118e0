"""The columns of consents, and of what the platform is set up with. Source: Microsoft's table references."""

from app.sandbox.dynamics.columns import Column, Option
from app.sandbox.dynamics.defining import ACTIVE, ACTIVE_REASONS, fixed, lookup, make, numbered, state, text

CONSENT = "msdynmkt_contactpointconsent4"

PLATFORM_COLUMNS: dict[str, tuple[Column, ...]] = {
    CONSENT: (
        text("msdynmkt_name", 850, "Name"),
        text("msdynmkt_contactpointvalue", 850, "Contact point value", indexed=True),
        numbered(
            "msdynmkt_contactpointtype", "Contact point type",
            {534120000: "Email", 534120001: "Text", 534120002: "Custom", 534120003: "Voice"}, default=534120000,
        ),
        numbered(
            "msdynmkt_value", "Value",
            {534120000: "Not set", 534120001: "Opted in", 534120002: "Opted out"}, default=534120000,
        ),
        lookup("msdynmkt_purposeid", "msdynmkt_purpose"),
        numbered("msdynmkt_source", "Source", {534120000: "Internal", 534120001: "External"}),
        text("msdynmkt_reason", 4_000, "Reason"),
        *state(ACTIVE, ACTIVE_REASONS),
    ),
    "msdynmkt_purpose": (text("msdynmkt_name", 850, "Name"), *state(ACTIVE, ACTIVE_REASONS)),
    "organization": (
        text("name", 160, "Organization Name"),
        fixed("languagecode", "Integer", "Language"),
        fixed("expirechangetrackingindays", "Integer", "Days to Expire Change Tracking Deltas"),
        make("isauditenabled", "Boolean", "Is Auditing Enabled"),
    ),
    "publisher": (
        text("uniquename", 256, "Name", indexed=True),
        text("friendlyname", 256, "Display Name"),
        text("customizationprefix", 8, "Prefix"),
        make("customizationoptionvalueprefix", "Integer", "Option Value Prefix", lowest=10_000, highest=99_999),
        fixed("isreadonly", "Boolean", "Is Read-Only Publisher"),
    ),
    "solution": (
        text("uniquename", 65, "Name", indexed=True),
        text("friendlyname", 256, "Display Name"),
        text("version", 256, "Version"),
        lookup("publisherid", "publisher"),
        fixed("ismanaged", "Boolean", "Package Type"),
        fixed("isvisible", "Boolean", "Is Visible Outside Platform", default=True),
    ),
    "sdkmessage": (text("name", 256, "Name", indexed=True),),
    "sdkmessagefilter": (
        text("name", 256, "Name"),
        make("primaryobjecttypecode", "EntityName", "Primary Object Type Code", indexed=True),
        lookup("sdkmessageid", "sdkmessage"),
        fixed("iscustomprocessingstepallowed", "Boolean", "Custom Processing Step Allowed", default=True),
    ),
    "serviceendpoint": (
        text("name", 160, "Name"),
        numbered("contract", "Contract", {7: "Event Hub", 8: "Webhook", 2: "Queue"}),
        text("url", 2_000, "URL"),
        numbered(
            "authtype", "Authorization Type", {2: "SASKey", 4: "WebhookKey", 5: "HttpHeader", 6: "HttpQueryString"},
        ),
        numbered("messageformat", "Message Format", {1: "BinaryXML", 2: "Json", 3: "TextXML"}),
        text("authvalue", 2_000, "Auth Value", may_read=False),
    ),
    "sdkmessageprocessingstep": (
        text("name", 256, "Name"),
        numbered("stage", "Execution Stage", {10: "Pre-validation", 20: "Pre-operation", 40: "Post-operation"}),
        numbered("mode", "Execution Mode", {0: "Synchronous", 1: "Asynchronous"}, default=0),
        make("rank", "Integer", "Execution Order"),
        numbered("supporteddeployment", "Deployment", {0: "Server Only", 1: "Client Only", 2: "Both"}),
        make("asyncautodelete", "Boolean", "Asynchronous Automatic Delete"),
        text("filteringattributes", 100_000, "Filtering Attributes"),
        text("description", 256, "Description"),
        lookup("eventhandler", "serviceendpoint", "plugintype"),
        lookup("sdkmessageid", "sdkmessage"),
        lookup("sdkmessagefilterid", "sdkmessagefilter"),
        *state(
            (Option(0, "Enabled"), Option(1, "Disabled")), (Option(1, "Enabled", 0), Option(2, "Disabled", 1)),
        ),
    ),
    "asyncoperation": (
        text("name", 256, "System Job Name"),
        text("message", 4_000, "Message"),
        *state(
            (Option(0, "Ready"), Option(3, "Completed")),
            (Option(0, "Waiting For Resources", 0), Option(30, "Succeeded", 3), Option(31, "Failed", 3)),
        ),
    ),
}  # fmt: skip

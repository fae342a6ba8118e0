"""Clients as their makers publish them, against the stand-in behind a real port."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import httpx
import msal
import pytest
import requests
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from dataverse_api.dataverse import DataverseClient
from dataverse_api.errors import DataverseAPIError
from dataverse_api.metadata.attributes import IntegerAttributeMetadata, StringAttributeMetadata
from dataverse_api.utils.labels import define_label

from app import clock
from app.sandbox.dynamics import Dynamics
from app.sandbox.people import people
from tests.processes import free_port
from tests.sandbox.dynamics_world import label
from tests.sandbox.installed import node_packages
from tests.sandbox.loopback import PATIENCE_S, served

PEOPLE, CONTACTS = 200, 150


@pytest.fixture(scope="module")
def crm() -> Dynamics:
    made = Dynamics()
    made.fill(people(PEOPLE))
    return made


@pytest.fixture(scope="module")
def url(crm: Dynamics) -> Iterator[str]:
    with served(crm.app) as address:
        yield address


def _token(crm: Dynamics, url: str) -> str:
    keys = crm.credentials(url)
    form = {"grant_type": "client_credentials", "scope": f"{url}/.default"}
    form |= {name: keys[name] for name in ("client_id", "client_secret")}
    return str(httpx.post(keys["token_url"], data=form).json()["access_token"])


# --- dataverse-api ----------------------------------------------------------------------------------------------------


@pytest.fixture
def dataverse(crm: Dynamics, url: str) -> Iterator[DataverseClient]:
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {_token(crm, url)}"
        yield DataverseClient(session=session, environment_url=url)


def test_dataverse_api_reads_and_writes_rows(dataverse: DataverseClient) -> None:
    contact = dataverse.entity("contact")
    assert ("contacts", "contactid") == (contact.entity_set_name, contact.primary_id_attr)
    assert contact.supports_create_multiple
    assert contact.supports_update_multiple

    assert CONTACTS == len(contact.read(select=["fullname"], page_size=40))
    single = contact.create([{"lastname": "Qa"}, {"lastname": "Qb"}], return_created=True)
    many = contact.create([{"lastname": "Qc"}, {"lastname": "Qd"}], mode="multiple")
    contact.create([{"lastname": "Qe"}, {"lastname": "Qf"}], mode="batch")
    found = contact.read(select=["lastname"], filter="startswith(lastname,'Q')", order_by="lastname desc")
    ids = [one["contactid"] for one in found if len(one["lastname"]) == 2]
    assert ["Qa", "Qb"] == [one.json()["lastname"] for one in single]
    assert 2 == len(many[0].json()["Ids"])
    assert 6 == len(ids)
    contact.upsert([{"contactid": one, "jobtitle": "x"} for one in ids], mode="batch")
    contact.upsert([{"contactid": one, "department": "y"} for one in ids[:2]])
    contact.delete_columns(["department"], ids=ids[:1])
    assert 6 == len(contact.read(select=["lastname"], filter="jobtitle eq 'x'"))
    assert 1 == len(contact.read(select=["lastname"], filter="department eq 'y'"))
    contact.delete(ids=ids[:1])
    contact.delete(ids=ids[1:], mode="batch")
    assert [] == contact.read(select=["lastname"], filter="jobtitle eq 'x'")
    with pytest.raises(DataverseAPIError, match="Could not find a property named 'nothing'"):
        contact.read(select=["nothing"])


def test_dataverse_api_makes_columns(dataverse: DataverseClient) -> None:
    lead = dataverse.entity("lead")
    score = IntegerAttributeMetadata(
        schema_name="new_Py_Score", description=define_label("ours"), display_name=define_label("Score"),
        min_value=-1000, max_value=1000,
    )  # fmt: skip
    text = StringAttributeMetadata(
        schema_name="new_Py_Text", description=define_label("ours"), display_name=define_label("Text"), max_length=50
    )

    made = [lead.add_attribute(one) for one in (score, text)]
    lead.create([{"lastname": "Py", "new_py_score": -1000, "new_py_text": "x"}])

    assert [204, 204] == [one.status_code for one in made]
    assert [-1000] == [one["new_py_score"] for one in lead.read(select=["new_py_score"], filter="new_py_text eq 'x'")]
    assert 204 == lead.remove_attribute(logical_name="new_py_text").status_code


# --- msal -------------------------------------------------------------------------------------------------------------


@contextmanager
def _served_securely(app: Any, folder: Path) -> Iterator[tuple[str, Path]]:  # Any: an ASGI app
    """The address, and the certificate to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    alternative = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).add_extension(alternative, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    now = clock.now()
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    trusted, private = folder / "trusted.pem", folder / "private.pem"
    signed = builder.sign(key, hashes.SHA256())
    trusted.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    kind = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, plain))
    port = free_port()
    config = uvicorn.Config(
        app, port=port, lifespan="off", ws="none", log_config=None, ssl_keyfile=private, ssl_certfile=trusted
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    began = time.monotonic()
    while not server.started:
        assert time.monotonic() < began + PATIENCE_S
        time.sleep(0.005)
    yield f"https://127.0.0.1:{port}", trusted
    server.should_exit = True
    thread.join(PATIENCE_S)


@pytest.fixture(scope="module")
def secure(crm: Dynamics, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    with _served_securely(crm.app, tmp_path_factory.mktemp("tls")) as served_at:
        yield served_at


def test_msal_signs_in_with_the_secret_and_with_the_certificate(crm: Dynamics, secure: tuple[str, Path]) -> None:
    address, trusted = secure
    keys = crm.credentials(address)
    fingerprint = crm.login.certificate.certificate.fingerprint(hashes.SHA1())  # noqa: S303 - a name
    certificate = {"private_key": keys["private_key"], "thumbprint": fingerprint.hex()}

    with requests.Session() as session:
        session.trust_env, session.verify = False, str(trusted)
        given = [
            msal.ConfidentialClientApplication(
                keys["client_id"], authority=f"{address}/{keys['tenant_id']}", client_credential=credential,
                instance_discovery=False, http_client=session,
            ).acquire_token_for_client([f"{address}/.default"])
            for credential in (keys["client_secret"], certificate, "wrong")
        ]  # fmt: skip
        me = [
            session.get(f"{address}/api/data/v9.2/WhoAmI", headers={"Authorization": f"Bearer {one['access_token']}"})
            for one in given[:2]
        ]

    assert [keys["user_id"]] * 2 == [one.json()["UserId"] for one in me]
    assert [7000215] == given[2]["error_codes"]


# --- dynamics-web-api -------------------------------------------------------------------------------------------------

NODE_CLIENT = "dynamics-web-api@2.5.0"
SCRIPT = """
const { DynamicsWebApi } = require("dynamics-web-api");
const told = JSON.parse(process.argv[1]);
const failure = async (work) => { try { await work; return null; } catch (fault) { return fault.status; } };
(async () => {
  const api = new DynamicsWebApi({
    serverUrl: told.url, dataApi: { version: "9.2" }, onTokenRefresh: async () => told.token,
  });
  const said = {};
  const collection = "contacts", nobody = "00000000-0000-0000-0000-0000000000aa";
  said.me = (await api.callFunction("WhoAmI")).UserId;
  const data = { lastname: "Lovelace", emailaddress1: "ada+x@example.com" };
  const made = await api.create({ collection, data, returnRepresentation: true });
  const one = { collection, key: made.contactid };
  said.read = (await api.retrieve({ ...one, select: ["fullname"] })).fullname;
  said.unchanged = !(await api.retrieve({ ...one, select: ["fullname"], ifnonematch: made["@odata.etag"] }));
  const page = await api.retrieveMultiple({ collection, select: ["fullname"], maxPageSize: 1 });
  said.page = [page.value.length, !!page.oDataNextLink];
  said.all = (await api.retrieveAll({ collection, select: ["fullname"], maxPageSize: 40 })).value.length;
  said.counted = await api.count({ collection });
  said.found = (await api.retrieveMultiple({
    collection, select: ["fullname"], filter: "emailaddress1 eq 'ada+x@example.com'", includeAnnotations: "*",
  })).value.length;
  const tracked = await api.retrieveMultiple({ collection, select: ["fullname"], trackChanges: true });
  said.tracked = [tracked.value.length, tracked.oDataDeltaLink.includes("$deltatoken=")];
  await api.update({ ...one, data: { jobtitle: "Countess" } });
  said.stale = await api.update({ ...one, data: { jobtitle: "Poet" }, ifmatch: 'W/"1"' });
  said.gone = await failure(api.update({ collection, key: nobody, data: { jobtitle: "Nobody" } }));
  const entityKey = "LogicalName='contact'";
  await api.createAttribute({ entityKey, data: {
    "@odata.type": "Microsoft.Dynamics.CRM.StringAttributeMetadata", AttributeType: "String", SchemaName: "new_ExtId",
    MaxLength: 50, FormatName: { Value: "Text" }, DisplayName: told.label,
  } });
  const attributes = (await api.retrieveAttributes({ entityKey, select: ["LogicalName"] })).value;
  said.attribute = attributes.some((each) => each.LogicalName === "new_extid");
  const choice = await api.retrieveAttribute({
    entityKey: "LogicalName='lead'", attributeKey: "LogicalName='leadsourcecode'",
    castType: "Microsoft.Dynamics.CRM.PicklistAttributeMetadata", select: ["LogicalName"],
    expand: [{ property: "OptionSet", select: ["Options"] }],
  });
  said.options = choice.OptionSet.Options.length;
  await fetch(`${told.url}/api/data/v9.2/EntityDefinitions(${entityKey})/Keys`, {
    method: "POST", headers: { Authorization: `Bearer ${told.token}`, "Content-Type": "application/json" },
    body: JSON.stringify({ SchemaName: "new_ExtIdKey", KeyAttributes: ["new_extid"], DisplayName: told.label }),
  });
  await api.upsert({ collection, key: "new_extid='42'", data: { lastname: "Byron" } });
  said.upserted = (await api.retrieve({ collection, key: "new_extid='42'", select: ["lastname"] })).lastname;
  const Targets = [{ "@odata.type": "Microsoft.Dynamics.CRM.contact", contactid: one.key, jobtitle: "Many" }];
  await api.callAction({ collection, actionName: "Microsoft.Dynamics.CRM.UpdateMultiple", action: { Targets } });
  said.many = (await api.retrieve({ ...one, select: ["jobtitle"] })).jobtitle;
  api.startBatch();
  api.update({ ...one, data: { jobtitle: "Batch" }, inChangeSet: false });
  api.update({ collection, key: nobody, data: { jobtitle: "Nobody" }, inChangeSet: false });
  api.retrieve({ ...one, select: ["jobtitle"] });
  const replies = await api.executeBatch({ continueOnError: true });
  said.batch = replies.map((each) => (each instanceof Error ? each.status : each.jobtitle ?? each));
  api.startBatch();
  api.create({ collection, data: { lastname: "First" }, contentId: "1" });
  const regarding = { "regardingobjectid_contact_task@odata.bind": "$1" };
  api.create({ collection: "tasks", data: { subject: "Call", ...regarding } });
  said.set = (await api.executeBatch()).length;
  await api.deleteRecord(one);
  said.deleted = await failure(api.retrieve({ ...one, select: ["fullname"] }));
  console.log(JSON.stringify(said));
})().catch((fault) => { console.error(fault); process.exit(1); });
"""


@pytest.fixture
def node(request: pytest.FixtureRequest) -> Path:
    return node_packages(request, "node-dynamics", NODE_CLIENT)


def test_dynamics_web_api_makes_every_call_that_a_sync_needs(crm: Dynamics, url: str, node: Path) -> None:
    there = len(crm.org.rows("contact").by_id)
    told = {"url": url, "token": _token(crm, url), "label": label("Ext Id")}

    ended = subprocess.run(
        ["node", "-e", SCRIPT, json.dumps(told)], cwd=node, capture_output=True, text=True, timeout=60, check=False
    )

    assert (0, "") == (ended.returncode, ended.stderr)
    assert {
        "me": crm.credentials(url)["user_id"], "read": "Lovelace", "unchanged": True, "page": [1, True],
        "all": there + 1, "counted": there + 1, "found": 1, "tracked": [there + 1, True], "stale": False, "gone": 404,
        "attribute": True, "options": 10, "upserted": "Byron", "many": "Many", "batch": [True, 404, "Batch"], "set": 2,
        "deleted": 404,
    } == json.loads(ended.stdout)  # fmt: skip

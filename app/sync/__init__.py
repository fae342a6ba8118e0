"""Both directions between connections to CRMs and us. docs/sync.md says what flows when, and who is right.

- Pure: `mapping` (which field is which), `options`, `reconcile` (who is right), `holding` (what a CRM does not take),
  `writing` (what to write to one record, and what is learnt of it).
- What both sides know: `ours`, `links`, `strangers`, `outbox`, `parked`, `cursors`, `budget`.
- In: `pull` and `everybody` walk, `taking` takes a page, `hearing` and `succession` say what it means, `hints`,
  `activities`, `reading`.
- Out: `push` drains, `creating` makes records, `fields` makes fields.
- A connection: `connections`, `given`, `opening`, `signing_in`, `setting_up`, `checking`, `removing`.
- What drives it: `driving` → `turns` → the above; `due`, `leases`. What shows it: `runs`, `differences`, `duplicates`,
  `forecast`.
"""

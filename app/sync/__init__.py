"""Both directions between connections to CRMs and us."""

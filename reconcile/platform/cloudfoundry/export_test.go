package cloudfoundry

// LedgerOf lets tests put on an app what Fettle applied before.
var LedgerOf = encodeLedger

package gateway

// unknownDescriptors is the limit of connections where nobody can tell.
const unknownDescriptors = 10_000

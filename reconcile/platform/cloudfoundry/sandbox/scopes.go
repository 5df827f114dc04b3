package sandbox

// AdminScopes make a user an administrator, as the user admin of a foundation is one.
var AdminScopes = []string{"cloud_controller.admin", "scim.read", "scim.write", "clients.read", "network.admin"}

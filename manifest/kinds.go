package manifest

// The Spec of each kind in canonical form. A key that Git does not declare is absent; a live
// object has every key that the platform lets us read. "int" is int64.
//
// KindApp
//
//	lifecycle               {type: "buildpack"|"docker"|"cnb", buildpacks: [name or URL, …], stack: string}
//	package                 {type: "bits", digest: string} | {type: "docker", image: string, username: string}
//	                        digest identifies the files that would be uploaded (driver's Prepare fills it in).
//	                        v2 adds to both metadata, and to bits from elsewhere url: string (http, https, or
//	                        oci://registry/repository:tag or @sha256:…), checksum: "sha256:…". Prepare makes a digest of these
//	droplet                 v2: {url: string, checksum: "sha256:…"}, or {} with the input droplet_path. Prepare makes
//	                        it {digest: string}, which is what live state has
//	environment_variables   {NAME: string}
//	features                {"ssh"|"revisions"|…: bool}
//	metadata                {labels: {key: string}, annotations: {key: string}}; a value is nil (present) where
//	                        Git asks for the key's removal
//	processes               {TYPE: {command: string, user: string, instances: int, memory_in_mb: int, disk_in_mb: int,
//	                          log_rate_limit_in_bytes_per_second: int (-1 is unlimited),
//	                          health_check:           {type: "port"|"http"|"process", timeout: int, invocation_timeout: int, interval: int, http_endpoint: string},
//	                          readiness_health_check: {type, invocation_timeout: int, interval: int, http_endpoint: string},
//	                          metadata: {labels, annotations} (v2)}}
//	                        command is nil (present) where Git asks for the detected one; buildpacks is [] where
//	                        Git asks to have one detected
//	sidecars                {NAME: {command: string, process_types: [sorted], memory_in_mb: int}}
//	routed                  bool: false for no-route, true for random-route and default-route without explicit
//	                        routes; live: whether any route has this app as a destination
//	state                   "STARTED"|"STOPPED"
//	rollout                 desired always "complete"; live "complete", "in progress" (a deployment is active)
//	                        or "pending restart" (changed configuration that no running instance has seen)
//
// Inputs of KindApp: "path" (string, relative to the snapshot's root: folder or archive), "docker_password",
// "cnb_credentials" (map, secret), "random_route" and "default_route" (bool, true). Of v2: "buildpack_fallbacks" ({NAME: URL}: the URL where the foundation has no
// buildpack NAME), "droplet_path" (string, as path), "package_credentials" and "droplet_credentials" ({username,
// password}, secret).
//
// KindRoute (v1: declared by an app's `routes`, one object per URL however many apps share it; v2: by `routes`)
//
//	options                 {loadbalancing: string, hash_header: string, hash_balance: string}
//	destinations            {"APP/PROCESS_TYPE": {port: int, protocol: "http1"|"http2"|"tcp"}}
//	metadata                {labels, annotations}
//
// The Ref's URL is in lower case (RouteRef), because the platform compares host and path without regard to case.
// Inputs of KindRoute: "url" (string, without scheme) where Git writes it in another case: to create it so; "shared"
// (bool, true) where the route belongs to another space, which shares it: to be mapped, never created.
//
// KindServiceBinding
//
//	app, service_instance   string
//	name                    string, the optional binding name
//	metadata                {labels, annotations}
//
// KindServiceKey (a service_credential_binding of type key)
//
//	service_instance, name  string
//	metadata                {labels, annotations}
//
// KindServiceRouteBinding
//
//	service_instance, route string; route is a URL as in the Ref of a route
//	metadata                {labels, annotations}
//
// Inputs of all three: "parameters" (map), which the API never returns.
//
// KindServiceInstance (declared by v2; a binding may also require one that is declared nowhere and only exists)
//
//	type                    "managed"|"user-provided"
//	service_offering, service_plan  string (managed)
//	maintenance_info        {version: string} (managed)
//	tags                    [sorted]
//	credentials             {…}, secret as a whole, whole numbers only (user-provided)
//	syslog_drain_url, route_service_url  string (user-provided)
//	share_to                {"ORG/SPACE": {}}
//	metadata                {labels, annotations}
//
// Inputs of KindServiceInstance: "parameters" (map). An instance with `shared: true` is no object: it lives elsewhere.
//
// KindOrg, KindSpace: so far only referred to (Requires), never declared.
//
// # Ownership
//
// v1 is three-way. v2 is exact for what is present: environment variables, labels, annotations, sidecars, destinations,
// credentials, share_to. Three-way for what is absent as a whole, and for processes, which the API cannot delete. Whole
// resources that v2 no longer declares stay as they are, service bindings too, unless meta.prune names their kind.
// Ownership at "" speaks of the resource itself: Exact where meta.prune names its kind (see also Set.Prunes).

// MetadataPrefix begins the annotations that Fettle itself keeps on resources, and in a manifest those of an app that are
// its settings (settings.go). Neither is part of any Spec. The prefix is a DNS name, as the V3 metadata rules ask.
const MetadataPrefix = "fettle-gitops.github.io/"

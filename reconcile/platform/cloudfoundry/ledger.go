package cloudfoundry

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/fettle-gitops/fettle/diff"
	"github.com/fettle-gitops/fettle/manifest"
)

// What Fettle applied before stands on the app itself, in one annotation, so that it is true for every agent and
// survives the loss of any database: Git no longer declares LOG_LEVEL, the ledger says that Fettle set it, so it goes.
//
// The annotation holds a version, and for each key the first 7 hexadecimal digits of its SHA-256, sorted, without
// separators: "1:0a1b2c3…". An annotation may have 5,000 characters (observed), enough for 714 keys. Beyond that the text
// is cut: keys that fall off count as not applied by Fettle, so that nothing is removed by mistake, and elements that
// Git stops declaring have to be removed by hand. That some fell off is told by a trailing "+".
//
// Keys are JSON pointers into the app's Spec ("/environment_variables/LOG_LEVEL", "/processes/worker"), two more
// for what hangs on the app, [routeKey] and [bindingKey], and [secretKey] for values that must not be shown even when
// Git no longer says that they are secret. A hash says only whether a live element was applied: two keys
// of one app sharing 28 bits is a chance of one in 268 million per pair.
const (
	appliedAnnotation = manifest.MetadataPrefix + "applied"
	pendingAnnotation = manifest.MetadataPrefix + "pending"
	digestAnnotation  = manifest.MetadataPrefix + "digest"

	// parametersAnnotation stands on a service instance, a key, a route binding, and a binding of an app that has parameters or
	// metadata: the seal (package diff) of the parameters that it was given, or diff.NoInput.
	parametersAnnotation = manifest.MetadataPrefix + "parameters"

	ledgerVersion = "1:"
	ledgerDigits  = 7
	ledgerMax     = 5000
)

// routeKey is the ledger key of a destination: "route:HOST.DOMAIN/PATH#PROCESS". DNS names ignore case.
func routeKey(url, process string) string { return "route:" + strings.ToLower(url) + "#" + process }

// bindingKey is the ledger key of a service binding: "service_binding:NAME".
func bindingKey(instance string) string { return "service_binding:" + instance }

// secretKey is the ledger key of a value that was secret when Fettle applied it: "secret:" and its JSON pointer.
func secretKey(pointer string) string { return "secret:" + pointer }

// encodeLedger writes the keys as an annotation's value. Order and repetition do not matter.
func encodeLedger(keys []string) string {
	hashes := make([]string, len(keys))
	for i, k := range keys {
		hashes[i] = ledgerHash(k)
	}
	return encodeHashes(hashes)
}

func encodeHashes(hashes []string) string {
	slices.Sort(hashes)
	hashes = slices.Compact(hashes)
	overflow := ""
	if room := (ledgerMax - len(ledgerVersion) - 1) / ledgerDigits; len(hashes) > room {
		hashes, overflow = hashes[:room], "+"
	}
	return ledgerVersion + strings.Join(hashes, "") + overflow
}

// applied is a decoded ledger.
type applied map[string]bool

// decodeLedger reads an annotation's value. A text that is not of this form (a later version, a hand edit) owns
// nothing: then nothing is removed.
func decodeLedger(text string) applied {
	rest, ok := strings.CutPrefix(text, ledgerVersion)
	rest = strings.TrimSuffix(rest, "+")
	if !ok || len(rest)%ledgerDigits != 0 {
		return nil
	}
	a := applied{}
	for ; rest != ""; rest = rest[ledgerDigits:] {
		a[rest[:ledgerDigits]] = true
	}
	return a
}

// with adds keys to an annotation's value. One of a later version stays as it is.
func with(text string, keys ...string) string {
	known := decodeLedger(text)
	if text != "" && known == nil {
		return text
	}
	for _, k := range keys {
		if known == nil {
			known = applied{}
		}
		known[ledgerHash(k)] = true
	}
	if strings.HasSuffix(text, "+") { // cut already: there is no room
		return text
	}
	return encodeHashes(slices.Collect(maps.Keys(known)))
}

// without takes keys out of an annotation's value, which otherwise stays as it is.
func without(text string, keys ...string) string {
	rest, ok := strings.CutPrefix(text, ledgerVersion)
	if !ok {
		return text
	}
	gone := decodeLedger(encodeLedger(keys))
	var left strings.Builder
	for ; len(rest) >= ledgerDigits; rest = rest[ledgerDigits:] {
		if hash := rest[:ledgerDigits]; !gone[hash] {
			left.WriteString(hash)
		}
	}
	return ledgerVersion + left.String() + rest
}

func (a applied) has(key string) bool { return len(a) > 0 && a[ledgerHash(key)] }

func ledgerHash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])[:ledgerDigits]
}

// readLedger says which live elements of an app, its routes and its bindings were applied by Fettle. Only what
// lives is asked about, because a hash cannot be turned back; what does not live needs no removing.
func readLedger(ledger diff.Ledger, text string, app *manifest.Object, routes, bindings []*manifest.Object) {
	a := decodeLedger(text)
	if len(a) == 0 {
		return
	}
	own := ledger.Own
	for _, collection := range []string{"/environment_variables", "/metadata/labels", "/metadata/annotations", "/processes", "/sidecars"} {
		v, _ := manifest.Lookup(app.Spec, collection)
		elements, _ := v.(map[string]any)
		for name, element := range elements {
			for _, pointer := range append(metadataKeys(collection+manifest.Pointer(name), mapOf(element)), collection+manifest.Pointer(name)) {
				if a.has(pointer) {
					own(app.Ref, pointer)
				}
			}
		}
	}
	markSecrets(a, app, "", app.Spec)
	for _, route := range routes {
		elements, _ := route.Spec["destinations"].(map[string]any)
		for key := range elements {
			name, process := splitDestination(key)
			if name == app.Ref.Name() && a.has(routeKey(route.Ref.Name(), process)) {
				own(route.Ref, manifest.Pointer("destinations", key))
			}
		}
	}
	for _, binding := range bindings {
		if name, _ := binding.Spec["service_instance"].(string); a.has(bindingKey(name)) {
			own(binding.Ref, "")
		}
	}
}

// readRouteLedger says which labels and annotations of a route Fettle gave it.
func readRouteLedger(ledger diff.Ledger, text string, route *manifest.Object) {
	a := decodeLedger(text)
	for _, pointer := range metadataKeys("", route.Spec) {
		if a.has(pointer) {
			ledger.Own(route.Ref, pointer)
		}
	}
}

// markSecrets marks the values at the ends of a live app's tree that were secret when they were applied.
func markSecrets(a applied, app *manifest.Object, pointer string, tree map[string]any) {
	for name, v := range tree {
		at := pointer + manifest.Pointer(name)
		if child, ok := v.(map[string]any); ok {
			markSecrets(a, app, at, child)
			continue
		}
		if a.has(secretKey(at)) {
			if app.Secrets == nil {
				app.Secrets = map[string]bool{}
			}
			app.Secrets[at] = true
		}
	}
}

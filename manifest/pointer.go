package manifest

import "strings"

// Made once: a Replacer costs kilobytes, and a comparison asks for many pointers.
var (
	escapeKey   = strings.NewReplacer("~", "~0", "/", "~1")
	unescapeKey = strings.NewReplacer("~1", "/", "~0", "~")
)

// Pointer joins keys into a JSON pointer (RFC 6901): Pointer("a/b", "c") is "/a~1b/c".
func Pointer(keys ...string) string {
	var b strings.Builder
	for _, k := range keys {
		b.WriteByte('/')
		b.WriteString(escapeKey.Replace(k))
	}
	return b.String()
}

// SplitPointer is the inverse of Pointer.
func SplitPointer(pointer string) []string {
	if pointer == "" {
		return nil
	}
	keys := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, k := range keys {
		keys[i] = unescapeKey.Replace(k)
	}
	return keys
}

// Lookup finds the value at pointer in a canonical tree of maps.
func Lookup(spec map[string]any, pointer string) (any, bool) {
	var at any = spec
	for _, k := range SplitPointer(pointer) {
		m, ok := at.(map[string]any)
		if !ok {
			return nil, false
		}
		if at, ok = m[k]; !ok {
			return nil, false
		}
	}
	return at, true
}

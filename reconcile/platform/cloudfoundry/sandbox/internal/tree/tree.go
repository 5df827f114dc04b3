// Package tree holds JSON-like values whose objects keep the order of their keys.
//
// A Cloud Controller names unknown fields, bad labels and the like in the order in which they were sent, and people
// read its answers in the order in which it writes them. Go maps lose both. The package also writes JSON itself: a
// page of 5,000 apps holds some 300,000 fields, and reflection would take most of the time that such a page may cost.
//
// It never interprets what it holds.
package tree

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"
)

// Field is one key of an object.
type Field struct {
	Key   string
	Value any
}

// Obj is an object in the order of its keys. Its values are nil, bool, int, int64, float64, string, []any, []string,
// Obj, Raw, or anything encoding/json can write.
type Obj []Field

// Raw is JSON text that is written as it is.
type Raw = json.RawMessage

// O builds an object from alternating keys and values.
func O(kv ...any) Obj {
	o := make(Obj, 0, len(kv)/2)
	for i := 0; i+1 < len(kv); i += 2 {
		o = append(o, Field{kv[i].(string), kv[i+1]})
	}
	return o
}

// Get returns the value of a key, nil when there is none.
func (o Obj) Get(key string) any {
	v, _ := o.Lookup(key)
	return v
}

// Lookup returns the value of a key and whether the key is there.
func (o Obj) Lookup(key string) (any, bool) {
	for i := range o {
		if o[i].Key == key {
			return o[i].Value, true
		}
	}
	return nil, false
}

// Has reports whether the key is there, whatever its value.
func (o Obj) Has(key string) bool {
	_, ok := o.Lookup(key)
	return ok
}

// Path follows keys through nested objects; nil when the way ends early.
func (o Obj) Path(keys ...string) any {
	var v any = o
	for _, k := range keys {
		m, ok := v.(Obj)
		if !ok {
			return nil
		}
		v = m.Get(k)
	}
	return v
}

// Set replaces or appends a key.
func (o *Obj) Set(key string, v any) {
	for i := range *o {
		if (*o)[i].Key == key {
			(*o)[i].Value = v
			return
		}
	}
	*o = append(*o, Field{key, v})
}

// Delete removes a key.
func (o *Obj) Delete(key string) {
	for i := range *o {
		if (*o)[i].Key == key {
			*o = append((*o)[:i:i], (*o)[i+1:]...)
			return
		}
	}
}

// Clone copies the object and every object and list in it.
func (o Obj) Clone() Obj {
	return clone(o).(Obj)
}

func clone(v any) any {
	switch v := v.(type) {
	case Obj:
		c := make(Obj, len(v))
		for i, f := range v {
			c[i] = Field{f.Key, clone(f.Value)}
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i := range v {
			c[i] = clone(v[i])
		}
		return c
	}
	return v
}

// MarshalJSON lets an object be part of what encoding/json writes.
func (o Obj) MarshalJSON() ([]byte, error) { return Append(nil, o), nil }

// UnmarshalJSON reads an object, keeping the order of its keys.
func (o *Obj) UnmarshalJSON(b []byte) error {
	v, err := Parse(b)
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case Obj:
		*o = v
	case nil:
		*o = nil
	default:
		return fmt.Errorf("tree: %T is not an object", v)
	}
	return nil
}

// JSON is the text of a value.
func JSON(v any) []byte { return Append(nil, v) }

// Append writes a value as JSON.
func Append(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case string:
		return appendString(b, v)
	case *string:
		if v == nil {
			return append(b, "null"...)
		}
		return appendString(b, *v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case *int:
		if v == nil {
			return append(b, "null"...)
		}
		return strconv.AppendInt(b, int64(*v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case float64:
		return appendFloat(b, v)
	case Obj:
		b = append(b, '{')
		for i := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, v[i].Key)
			b = append(b, ':')
			b = Append(b, v[i].Value)
		}
		return append(b, '}')
	case []any:
		b = append(b, '[')
		for i := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = Append(b, v[i])
		}
		return append(b, ']')
	case []Obj:
		b = append(b, '[')
		for i := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = Append(b, v[i])
		}
		return append(b, ']')
	case []string:
		b = append(b, '[')
		for i := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, v[i])
		}
		return append(b, ']')
	case json.RawMessage:
		if len(v) == 0 {
			return append(b, "null"...)
		}
		return append(b, v...)
	}
	out, err := json.Marshal(v)
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, out...)
}

func appendFloat(b []byte, f float64) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(b, "null"...)
	}
	if f == math.Trunc(f) && math.Abs(f) < 1e15 {
		return strconv.AppendFloat(b, f, 'f', 1, 64) // 1.0 stays a float, as in Ruby
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}

const hex = "0123456789abcdef"

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			b = append(b, s[start:i]...)
			b = append(b, `\ufffd`...)
			i++
			start = i
			continue
		}
		i += n
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

// Parse reads one JSON value. Whole numbers become int64, others float64.
func Parse(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := parse(d)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("tree: text after the JSON value")
	}
	return v, nil
}

func parse(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			o := Obj{}
			for d.More() {
				k, err := d.Token()
				if err != nil {
					return nil, err
				}
				v, err := parse(d)
				if err != nil {
					return nil, err
				}
				o.Set(k.(string), v)
			}
			_, err := d.Token()
			return o, err
		}
		l := []any{}
		for d.More() {
			v, err := parse(d)
			if err != nil {
				return nil, err
			}
			l = append(l, v)
		}
		_, err := d.Token()
		return l, err
	case json.Number:
		if i, err := strconv.ParseInt(t.String(), 10, 64); err == nil {
			return i, nil
		}
		f, err := t.Float64()
		if err != nil {
			return nil, err
		}
		return f, nil
	}
	return t, nil
}

package world

import (
	"encoding/json"
	"iter"
	"time"
)

// Base is what every record has. Created and Updated keep their fractions of a second, so that an order by time is
// an order of events; answers show whole seconds.
type Base struct {
	GUID        string            `json:"guid"`
	Seq         int64             `json:"seq"`
	Created     time.Time         `json:"created"`
	Updated     time.Time         `json:"updated"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Head gives access to the base of any record.
func (b *Base) Head() *Base { return b }

// Row is a pointer to a record that embeds Base.
type Row interface {
	comparable
	Head() *Base
}

// Table holds the records of one kind in the order of their creation. It finds them by guid and by any number of
// secondary keys; those are fixed when a row is inserted (the space of an app, the app of a process), so nothing has
// to be kept in step when a row changes.
type Table[R Row] struct {
	rows []R // with holes where rows were removed
	pos  map[string]int
	keys map[string]func(R) string
	idx  map[string]map[string][]R
	seq  int64
	gone int
}

// NewTable makes an empty table; keys name its secondary indexes.
func NewTable[R Row](keys map[string]func(R) string) *Table[R] {
	t := &Table[R]{keys: keys}
	t.reset()
	return t
}

func (t *Table[R]) reset() {
	t.rows, t.pos, t.gone = nil, map[string]int{}, 0
	t.idx = make(map[string]map[string][]R, len(t.keys))
	for name := range t.keys {
		t.idx[name] = map[string][]R{}
	}
}

// Insert adds a row at the end. Its guid must be set.
func (t *Table[R]) Insert(r R) {
	h := r.Head()
	if h.Seq == 0 {
		t.seq++
		h.Seq = t.seq
	} else if h.Seq > t.seq {
		t.seq = h.Seq
	}
	t.pos[h.GUID] = len(t.rows)
	t.rows = append(t.rows, r)
	for name, key := range t.keys {
		k := key(r)
		t.idx[name][k] = append(t.idx[name][k], r)
	}
}

// Get finds a row by guid.
func (t *Table[R]) Get(guid string) (R, bool) {
	i, ok := t.pos[guid]
	if !ok {
		var none R
		return none, false
	}
	return t.rows[i], true
}

// Delete removes a row; removing what is not there is no error.
func (t *Table[R]) Delete(guid string) {
	i, ok := t.pos[guid]
	if !ok {
		return
	}
	r := t.rows[i]
	var none R
	t.rows[i] = none
	delete(t.pos, guid)
	t.gone++
	for name, key := range t.keys {
		k := key(r)
		bucket := t.idx[name][k]
		for j := range bucket {
			if bucket[j] == r {
				bucket = append(bucket[:j:j], bucket[j+1:]...)
				break
			}
		}
		if len(bucket) == 0 {
			delete(t.idx[name], k)
		} else {
			t.idx[name][k] = bucket
		}
	}
	if t.gone > 64 && t.gone > len(t.rows)/2 {
		t.compact()
	}
}

func (t *Table[R]) compact() {
	var none R
	rows := make([]R, 0, len(t.pos))
	for _, r := range t.rows {
		if r != none {
			t.pos[r.Head().GUID] = len(rows)
			rows = append(rows, r)
		}
	}
	t.rows, t.gone = rows, 0
}

// Len counts the rows.
func (t *Table[R]) Len() int { return len(t.pos) }

// All goes through the rows in the order of creation. Rows may be removed on the way.
func (t *Table[R]) All() iter.Seq[R] {
	return func(yield func(R) bool) {
		var none R
		rows := t.rows
		for _, r := range rows {
			if r != none && !yield(r) {
				return
			}
		}
	}
}

// By returns the rows with that secondary key, oldest first. The slice is a copy: rows may be removed while going
// through it.
func (t *Table[R]) By(index, key string) []R {
	return append([]R(nil), t.idx[index][key]...)
}

// First returns the oldest row with that secondary key.
func (t *Table[R]) First(index, key string) (R, bool) {
	if b := t.idx[index][key]; len(b) > 0 {
		return b[0], true
	}
	var none R
	return none, false
}

// MarshalJSON writes the rows as a list.
func (t *Table[R]) MarshalJSON() ([]byte, error) {
	rows := make([]R, 0, t.Len())
	for r := range t.All() {
		rows = append(rows, r)
	}
	return json.Marshal(rows)
}

// UnmarshalJSON replaces the rows and builds the indexes anew.
func (t *Table[R]) UnmarshalJSON(b []byte) error {
	var rows []R
	if err := json.Unmarshal(b, &rows); err != nil {
		return err
	}
	t.reset()
	for _, r := range rows {
		t.Insert(r)
	}
	return nil
}

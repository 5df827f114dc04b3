package cc

// Stays asks what BeforeDelete registered for that kind; its texts say what could not be deleted yet.
func (tx *Tx) Stays(kind, guid string) (why []string) {
	for _, f := range tx.S.stays[kind] {
		why = append(why, f(tx, guid)...)
	}
	return why
}

// BeforeDelete registers what is tried before a resource of that kind ("space") goes, and may keep it from going: a
// service broker that takes its time, for one.
func (s *Server) BeforeDelete(kind string, f func(tx *Tx, guid string) []string) {
	if s.stays == nil {
		s.stays = map[string][]func(*Tx, string) []string{}
	}
	s.stays[kind] = append(s.stays[kind], f)
}

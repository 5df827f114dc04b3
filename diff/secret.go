package diff

// looksSecret stands in for manifest.LooksSecret.
func looksSecret(string, any) bool { return false }

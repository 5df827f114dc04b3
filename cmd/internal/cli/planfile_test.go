package cli

import "testing"

func TestAPlanNamesARepositoryWithoutCredentials(t *testing.T) {
	for given, want := range map[string]string{
		"https://git.example.com/shop.git":            "https://git.example.com/shop.git",
		"https://user:secret@git.example.com/s.git":   "https://git.example.com/s.git",
		"https://token@git.example.com/shop.git":      "https://git.example.com/shop.git",
		"ssh://git@git.example.com/shop.git":          "ssh://git@git.example.com/shop.git",
		"ssh://git:secret@git.example.com/shop.git":   "ssh://git@git.example.com/shop.git",
		"git@git.example.com:shop.git":                "git@git.example.com:shop.git",
		"/srv/git/shop.git":                           "/srv/git/shop.git",
		"https://user:secret@git.example.com:8443/s/": "https://git.example.com:8443/s/",
	} {
		if got := withoutUser(given); got != want {
			t.Errorf("%s: expected %s, got %s", given, want, got)
		}
	}
}

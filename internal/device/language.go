package device

import (
	"golang.org/x/text/language"

	"tidings/internal/wording"
)

// CanonicalLanguage returns a BCP 47 tag in canonical form, of language, script and region
// alone: there are few of those, and an index keeps each. An empty text is no language and
// stays empty.
func CanonicalLanguage(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	wrong := invalid("language is a tag of BCP 47, and not %q", wording.Clip(text, MaxText))
	if len(text) > MaxText {
		return "", wrong
	}
	tag, err := language.Parse(text)
	if err != nil {
		return "", wrong
	}
	base, script, region := tag.Raw()
	if tag, err = language.Raw.Compose(base, script, region); err != nil {
		return "", wrong
	}
	return tag.String(), nil
}

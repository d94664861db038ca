package channel

import (
	"sync"

	"golang.org/x/text/language"
)

// Text returns title and text of a message for a device with a language (BCP 47; empty:
// not known). Whoever needs them for many devices uses Texts.
func (m *Message) Text(lang string) (title, desc string) {
	return NewTexts(m).Of(lang)
}

// Texts are title and text of one message in all its languages. Matching languages takes
// some microseconds, so Texts remember what a language was matched to. They are safe for
// concurrent use.
type Texts struct {
	texts   []Text // the first is the message's own, for all other languages
	matcher language.Matcher
	places  []int // in texts, of each language of matcher

	mu    sync.RWMutex
	known map[string]int
}

// Devices say what their language is, so both its length and the number of those that are
// remembered have bounds. The longest sensible tag has 35 characters (RFC 5646, 4.4.1).
const (
	maxLanguage  = 64
	maxLanguages = 1000
)

// NewTexts creates the texts of a message.
func NewTexts(m *Message) *Texts {
	t := &Texts{texts: []Text{{Title: m.Title, Desc: m.Desc}}, known: map[string]int{}}
	var tags []language.Tag
	for _, translation := range m.Translations {
		tag, ok := parse(translation.Language)
		if !ok {
			continue
		}
		if translation.Title == "" {
			translation.Title = m.Title
		}
		if translation.Desc == "" {
			translation.Desc = m.Desc
		}
		t.texts = append(t.texts, translation)
		tags = append(tags, tag)
		t.places = append(t.places, len(t.texts)-1)
	}
	if len(tags) > 0 {
		t.matcher = language.NewMatcher(tags)
	}
	return t
}

// Of returns title and text for a language.
func (t *Texts) Of(lang string) (title, desc string) {
	text := &t.texts[t.Place(lang)]
	return text.Title, text.Desc
}

// Place returns a number that is the same for languages with the same text: 0 for the
// message's own.
func (t *Texts) Place(lang string) int {
	if t.matcher == nil || lang == "" {
		return 0
	}
	t.mu.RLock()
	place, ok := t.known[lang]
	t.mu.RUnlock()
	if ok {
		return place
	}
	place = t.match(lang)
	t.mu.Lock()
	if len(t.known) < maxLanguages {
		t.known[lang] = place
	}
	t.mu.Unlock()
	return place
}

// match finds the translation that a reader of lang understands. A reader of another
// script does not, so Traditional Chinese is no translation for Simplified, and the other
// way round; zh-HK and zh-TW are for each other.
func (t *Texts) match(lang string) int {
	tag, ok := parse(lang)
	if !ok {
		return 0
	}
	_, i, confidence := t.matcher.Match(tag)
	if confidence < language.High {
		return 0
	}
	return t.places[i]
}

// parse returns the tag of a language, if that is one of a language that is known.
func parse(lang string) (language.Tag, bool) {
	if len(lang) > maxLanguage {
		return language.Und, false
	}
	tag, err := language.Parse(lang)
	return tag, err == nil && tag != language.Und
}

package fcm

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"tidings/internal/channel"
)

const (
	maxSaid  = 4 << 10 // bytes of an answer that are looked at
	secretly = 12      // bytes that an answer and a secret have in common are none of an accident
	maxCode  = 64
)

// clean returns the words of a provider as they may be kept: valid UTF-8, in one line, at most
// channel.MaxWords bytes, and with no part of a secret.
func clean(words string, secrets ...string) string {
	if len(words) > maxSaid {
		words = words[:maxSaid]
	}
	for _, s := range secrets {
		words = hide(words, s)
	}
	words = strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) { // nor what turns the direction of the text around it
			return ' '
		}
		return r
	}, strings.ToValidUTF8(words, "\uFFFD")))
	if len(words) <= channel.MaxWords {
		return words
	}
	end := channel.MaxWords - len("…")
	for !utf8.RuneStart(words[end]) {
		end--
	}
	return words[:end] + "…"
}

// hide replaces each part of a text that is a part of a secret too, unless it is short.
func hide(text, secret string) string {
	if len(secret) < secretly || len(text) < secretly {
		return text
	}
	var b strings.Builder
	from := 0
	for i := 0; i+secretly <= len(text); {
		if !strings.Contains(secret, text[i:i+secretly]) {
			i++
			continue
		}
		end := i + secretly
		for end < len(text) && strings.Contains(secret, text[i:end+1]) {
			end++
		}
		b.WriteString(text[from:i])
		b.WriteString("…")
		i, from = end, end
	}
	b.WriteString(text[from:])
	return b.String()
}

// code returns a provider's own word for an error if it has the form of one, and else
// nothing.
func code(word string, secrets ...string) string {
	if len(word) > maxCode {
		return ""
	}
	for _, s := range secrets {
		word = hide(word, s)
	}
	for _, c := range word {
		if c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return ""
		}
	}
	return word
}

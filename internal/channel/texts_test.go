package channel

import (
	"fmt"
	"strings"
	"testing"
)

// chinese has, for the language of a device (rows) and that of the only translation
// (columns), whether the device gets the translation.
var chinese = []struct {
	device                 string
	hans, cn, hant, tw, hk bool
}{
	{"zh-Hans", true, true, false, false, false},
	{"zh-CN", true, true, false, false, false},
	{"zh-SG", true, true, false, false, false},
	{"zh", true, true, false, false, false},
	{"zh-Hant", false, false, true, true, true},
	{"zh-TW", false, false, true, true, true},
	{"zh-HK", false, false, true, true, true},
	{"zh-MO", false, false, true, true, true},
	{"zh_CN", true, true, false, false, false},
	{"zh-Hans-CN", true, true, false, false, false},
	{"zh-Hans-HK", true, true, false, false, false},
	{"zh-Hant-HK", false, false, true, true, true},
	{"en", false, false, false, false, false},
}

func TestTextsOfChinese(t *testing.T) {
	for _, row := range chinese {
		for translation, want := range map[string]bool{"zh-Hans": row.hans, "zh-CN": row.cn, "zh-Hant": row.hant, "zh-TW": row.tw, "zh-HK": row.hk} {
			m := Message{Title: "own", Translations: []Text{{Language: translation, Title: "translated"}}}
			if title, _ := m.Text(row.device); (title == "translated") != want {
				t.Errorf("a device with %s and a translation to %s: got %q", row.device, translation, title)
			}
		}
	}
}

func TestTextsChooseTheNearest(t *testing.T) {
	m := Message{Title: "own", Desc: "own text", Translations: []Text{
		{Language: "zh-TW", Title: "tw"},
		{Language: "zh-HK", Title: "hk"},
		{Language: "zh-CN", Title: "cn"},
		{Language: "pt-BR", Title: "br", Desc: "texto"},
		{Language: "en", Title: "en"},
		{Language: "nonsense-language", Title: "never"},
		{Language: "de", Desc: "nur Text"},
		{Language: "de", Title: "twice"},
	}}
	texts := NewTexts(&m)
	for lang, want := range map[string][2]string{
		"":                               {"own", "own text"},
		"fr":                             {"own", "own text"},
		"und":                            {"own", "own text"},
		"zh-TW":                          {"tw", "own text"},
		"zh-HK":                          {"hk", "own text"},
		"zh-MO":                          {"hk", "own text"},
		"zh-CN":                          {"cn", "own text"},
		"zh-Hans":                        {"cn", "own text"},
		"zh-Hant":                        {"tw", "own text"},
		"pt-PT":                          {"br", "texto"},
		"en-GB":                          {"en", "own text"},
		"de-AT":                          {"own", "nur Text"},
		"de_AT":                          {"own", "nur Text"},
		"nonsense":                       {"own", "own text"},
		"\xff\x00":                       {"own", "own text"},
		strings.Repeat("en-", 1000):      {"own", "own text"},
		"en-x-" + strings.Repeat("a", 8): {"en", "own text"},
	} {
		for range 2 { // the second time it is remembered
			title, desc := texts.Of(lang)
			if title != want[0] || desc != want[1] {
				t.Errorf("%.40q: got %q, %q, want %q", lang, title, desc, want)
			}
		}
	}
}

func TestTextsRememberABoundedNumber(t *testing.T) {
	texts := NewTexts(&Message{Title: "own", Translations: []Text{{Language: "en", Title: "en"}}})
	for i := range 3 * maxLanguages {
		if title, _ := texts.Of(fmt.Sprintf("en-x-a%d", i)); title != "en" {
			t.Fatalf("language %d: got %q", i, title)
		}
	}
	if len(texts.known) > maxLanguages {
		t.Errorf("remembers %d languages, want at most %d", len(texts.known), maxLanguages)
	}
}

func FuzzTexts(f *testing.F) {
	f.Add("en-GB", "en")
	f.Add("zh_Hant_HK", "zh-TW")
	f.Fuzz(func(t *testing.T, device, translation string) {
		m := Message{Title: "own", Translations: []Text{{Language: translation, Title: "translated"}}}
		first, _ := m.Text(device)
		texts := NewTexts(&m)
		for range 2 {
			if title, _ := texts.Of(device); title != first {
				t.Errorf("got %q and then %q", first, title)
			}
		}
	})
}

func BenchmarkTexts(b *testing.B) {
	texts := NewTexts(&Message{Title: "own", Translations: []Text{{Language: "en"}, {Language: "zh-CN"}, {Language: "de"}}})
	b.ReportAllocs()
	for b.Loop() {
		texts.Of("zh-Hans-CN")
	}
}

package fcm

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"strconv"

	"tidings/internal/channel"
)

// Making JSON for each of a million devices is most of the work, and all of it is the same
// but for a token, a report id and a few numbers. So the JSON is made once, with holes in
// the places of these, and cut there.

// maxPayload is what FCM takes for one message, in bytes.
const maxPayload = 4096

// A hole is a place in a template that differs between devices.
type hole byte

const (
	holeToken     hole = 't'
	holeReport    hole = 'r'
	holeTTL       hole = 'l'
	holeBadge     hole = 'b' // a number
	holeBadgeText hole = 's' // a number in a string
	holeEnd       hole = 0   // nothing follows
)

// holes are what stands in the place of holes until the JSON is cut: strings that nobody
// can guess, so that no text of a message looks like one.
type holes struct {
	mark                                 string
	token, report, ttl, badge, badgeText string
}

func newHoles() holes {
	h := holes{mark: rand.Text()}
	name := func(k hole) string { return h.mark + string(rune(k)) }
	h.token, h.report, h.ttl, h.badge, h.badgeText = name(holeToken), name(holeReport), name(holeTTL), name(holeBadge), name(holeBadgeText)
	return h
}

// A piece is JSON that is the same for all devices, and the hole after it.
type piece struct {
	text []byte
	hole hole
}

// A template is the body of a request with holes.
type template struct {
	pieces   []piece
	size     int  // of the pieces and what usually fills the holes
	counted  int  // bytes that count at the limit, without those of the holes
	report   bool // the report id counts
	badge    bool // the badge counts
	replaces bool // a copy replaces silently what arrived
}

// newTemplate creates the template for devices of a kind with a text.
func newTemplate(job *channel.Job, o channel.Options, kind channel.TokenKind, title, desc string, badge bool) (*template, error) {
	h := newHoles()
	m, replaces := build(job, o, kind, title, desc, badge, h)
	text, err := encode(m)
	if err != nil {
		return nil, err
	}
	if patch := job.Message.Overrides.Fcm; len(patch) > 0 {
		if err := CheckOverride(patch); err != nil {
			return nil, err
		}
		if text, err = channel.Merge(text, patch); err != nil {
			return nil, err
		}
	}
	var merged map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&merged); err != nil {
		return nil, err
	}
	t := &template{}
	t.count(merged, h)
	t.replaces = replaces && tagged(merged)
	if text, err = encode(request{ValidateOnly: job.ValidateOnly, Message: text}); err != nil {
		return nil, err
	}
	t.cut(text, h)
	return t, nil
}

// tagged reports whether a message is a notification with a tag still, after overrides.
func tagged(m map[string]any) bool {
	tag, _ := androidOf(m)["tag"].(string)
	return m["notification"] != nil && tag != ""
}

// androidOf returns the members of android.notification of a message.
func androidOf(m map[string]any) map[string]any {
	android, _ := m["android"].(map[string]any)
	n, _ := android["notification"].(map[string]any)
	return n
}

// cut splits JSON at its holes.
func (t *template) cut(text []byte, h holes) {
	mark := []byte(`"` + h.mark)
	for {
		before, after, found := bytes.Cut(text, mark)
		if !found {
			t.pieces = append(t.pieces, piece{text, holeEnd})
			t.size += len(text)
			return
		}
		t.pieces = append(t.pieces, piece{before, hole(after[0])})
		t.size += len(before) + 64
		text = after[2:] // the name of the hole and a quote
	}
}

// fill appends the body for a device.
func (t *template) fill(b []byte, target *channel.Target, ttl int) []byte {
	for _, p := range t.pieces {
		b = append(b, p.text...)
		switch p.hole {
		case holeToken:
			b = quote(b, string(target.Address))
		case holeReport:
			b = quote(b, target.ReportID)
		case holeTTL:
			b = append(b, '"')
			b = strconv.AppendInt(b, int64(ttl), 10)
			b = append(b, `s"`...)
		case holeBadge:
			b = strconv.AppendInt(b, int64(target.Badge), 10)
		case holeBadgeText:
			b = append(b, '"')
			b = strconv.AppendInt(b, int64(target.Badge), 10)
			b = append(b, '"')
		}
	}
	return b
}

// quote appends a text as a JSON string.
func quote(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := encode(text)
			if err != nil {
				panic("a string has no JSON: " + err.Error())
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, text...)
	return append(b, '"')
}

// bytes returns how many bytes of the body for a device count at the limit.
func (t *template) bytes(target *channel.Target) int {
	n := t.counted
	if t.report {
		n += len(target.ReportID)
	}
	if t.badge {
		n += len(strconv.Itoa(target.Badge))
	}
	return n
}

// count counts what counts at the limit of 4096 bytes. FCM's documents say that names and
// values of the payload count and do not say more, so these are counted: all names and
// values, in UTF-8 and without the punctuation of JSON, in notification, data and
// android.notification, which is what travels to the device. Token, ttl, priority, keys
// and package names do not count.
func (t *template) count(m map[string]any, h holes) {
	t.walk(m["notification"], h)
	t.walk(m["data"], h)
	t.walk(androidOf(m), h)
}

func (t *template) walk(v any, h holes) {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			t.counted += len(name)
			t.walk(member, h)
		}
	case []any:
		for _, element := range v {
			t.walk(element, h)
		}
	case string:
		switch v {
		case h.report:
			t.report = true
		case h.badge, h.badgeText:
			t.badge = true
		default:
			t.counted += len(v)
		}
	case json.Number:
		t.counted += len(v)
	case bool:
		t.counted += len(strconv.FormatBool(v))
	}
}

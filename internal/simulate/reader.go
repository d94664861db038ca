package simulate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// A reader checks a message and keeps of it what is needed. It is used again for another.
type reader struct {
	body bytes.Buffer
	json *jsontext.Decoder

	idKey        string
	arena        []byte // the texts that are kept
	scratch      []byte
	path         []byte // of the field that is read
	kept         [texts]span
	sizes        [parts]int
	validateOnly bool
	size         int // of the payload

	unreadable []violation // what is no message at all
	wrong      []violation // what FCM refuses in one
}

// A span is a text in the arena.
type span struct {
	from, to int
	set      bool
}

// maxViolations bounds those that an answer lists.
const maxViolations = 16

// text returns a text that was kept; empty: it was not sent.
func (m *reader) text(i int) []byte { return m.arena[m.kept[i].from:m.kept[i].to] }

// target returns the token, or what else the message is for.
func (m *reader) target() []byte {
	for _, t := range targets {
		if m.kept[t].set {
			return m.text(t)
		}
	}
	return nil
}

var targets = [...]int{textToken, textFID, textTopic, textCondition}

// check checks the body, whose report id is the member idKey of data, and returns why it
// is refused.
func (m *reader) check(idKey string) *answer {
	m.idKey = idKey
	m.arena, m.path = m.arena[:0], m.path[:0]
	m.kept, m.sizes = [texts]span{}, [parts]int{}
	m.validateOnly, m.size = false, 0
	m.unreadable, m.wrong = nil, nil
	if m.json == nil {
		m.json = jsontext.NewDecoder(&m.body)
	} else {
		m.json.Reset(&m.body)
	}
	err := m.document()
	if err == nil {
		if _, end := m.json.ReadToken(); !errors.Is(end, io.EOF) {
			err = errors.New("there is something after it")
		}
	}
	if err != nil {
		m.kept = [texts]span{}
		return refused("Invalid JSON payload received. "+strings.TrimPrefix(err.Error(), "jsontext: "), false)
	}
	if len(m.unreadable) > 0 {
		return refused(descriptions(m.unreadable), false, m.unreadable...)
	}
	return m.judge()
}

func descriptions(violations []violation) string {
	var lines []string
	for _, v := range violations {
		lines = append(lines, v.description)
	}
	return strings.Join(lines, "\n")
}

// The payload's limits (spec/channels.md, 5).
const (
	maxPayload      = 4096
	maxTopicPayload = 2048
)

// judge returns what FCM refuses in a message that could be read.
func (m *reader) judge() *answer {
	set := 0
	for _, t := range targets {
		if m.kept[t].set {
			set++
		}
	}
	if set == 0 {
		return refused("Recipient of the message is not set.", true, violation{"message", "Recipient of the message is not set."})
	}
	if m.kept[textToken].set || m.kept[textFID].set {
		if !isToken(m.target()) {
			return answers[Malformed]
		}
	} else if topic := m.kept[textTopic]; topic.set && !topicForm.Match(m.text(textTopic)) {
		m.wrong = append(m.wrong, violation{"message.topic", "Invalid topic name"})
	} else if !topic.set && !isCondition(string(m.text(textCondition))) {
		m.wrong = append(m.wrong, violation{"message.condition", "Invalid condition expression provided."})
	}
	data := m.sizes[partData]
	if d := m.sizes[partAndroidData]; d > 0 {
		data = d
	}
	m.size = m.sizes[partNotification] + data
	limit := maxPayload
	if m.kept[textTopic].set || m.kept[textCondition].set {
		limit = maxTopicPayload
	}
	if m.size > limit {
		m.wrong = append(m.wrong, violation{"message", fmt.Sprintf("Android message is too big: %d bytes, at most %d", m.size, limit)})
	}
	if len(m.wrong) == 0 {
		return nil
	}
	return refused(m.wrong[0].description, true, m.wrong...)
}

// isCondition reports whether an expression of topics looks like one: at most five of
// them, joined.
func isCondition(s string) bool {
	n := strings.Count(s, "in topics")
	return n >= 1 && n <= 5 && strings.Count(s, "'") == 2*n && strings.Count(s, "(") == strings.Count(s, ")") &&
		strings.Count(s, "&&")+strings.Count(s, "||") == n-1
}

// document reads the body.
func (m *reader) document() error {
	if m.json.PeekKind() != '{' {
		m.mistake(`Invalid JSON payload received. Unknown name "": Root element must be a message.`)
		return m.json.SkipValue()
	}
	return m.message(sendRequest, 0)
}

// mistake notes that the field which is being read is none.
func (m *reader) mistake(description string) { m.unreadable = m.note(m.unreadable, description) }

func (m *reader) note(to []violation, description string) []violation {
	if len(to) < maxViolations {
		to = append(to, violation{string(m.path), description})
	}
	return to
}

// invalid notes a value of the wrong type.
func (m *reader) invalid(want string, raw jsontext.Value) {
	const shown = 64
	value := string(raw[:min(len(raw), shown)])
	m.mistake(fmt.Sprintf("Invalid value at '%s' (%s), %s", m.path, want, strings.ToValidUTF8(value, "")))
}

// unknown notes a name that the message does not have.
func (m *reader) unknown(name []byte) {
	at := ""
	if len(m.path) > 0 {
		at = fmt.Sprintf(" at '%s'", m.path)
	}
	m.mistake(fmt.Sprintf("Invalid JSON payload received. Unknown name %q%s: Cannot find field.", clip(name), at))
}

// isTarget reports whether a field is one of those of which exactly one is wanted.
func (f *field) isTarget() bool { return f.text >= textToken && f.text <= textCondition }

// message reads an object, whose texts count to a part of the payload. It is called three
// deep in a goroutine of its own for each request, whose stack grows by copying: a small
// frame here, and in what it calls, is a tenth of what a message costs.
func (m *reader) message(of *message, part int) error {
	if _, err := m.json.ReadToken(); err != nil {
		return err
	}
	path, targeted := len(m.path), false
	var seen uint64
	for m.json.PeekKind() != '}' {
		name, err := m.name()
		if err != nil {
			return err
		}
		f := of.fields[string(name)]
		if f == nil {
			m.unknown(name)
			if err := m.json.SkipValue(); err != nil {
				return err
			}
			continue
		}
		if seen&f.bit != 0 {
			m.mistake("Invalid JSON payload received. Field \"" + f.name + "\" is given in both spellings.")
		}
		seen |= f.bit
		if f.isTarget() && m.json.PeekKind() != 'n' {
			if targeted {
				m.mistake("Invalid value at 'message' (oneof), oneof field 'target' is already set. Cannot set '" + f.name + "'")
			}
			targeted = true
		}
		if len(m.path) > 0 {
			m.path = append(m.path, '.')
		}
		m.path = append(m.path, f.name...)
		err = m.value(f, part)
		m.path = m.path[:path]
		if err != nil {
			return err
		}
	}
	_, err := m.json.ReadToken()
	return err
}

// clip bounds what of a client's own words is repeated to it.
func clip(s []byte) string { return strings.ToValidUTF8(string(s[:min(len(s), 64)]), "") }

// name reads the name of a member. It is good until the next is read.
func (m *reader) name() ([]byte, error) {
	raw, err := m.json.ReadValue()
	if err != nil {
		return nil, err
	}
	return m.unquote(raw)
}

func (m *reader) unquote(raw jsontext.Value) (text []byte, err error) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	m.scratch, err = jsontext.AppendUnquote(m.scratch[:0], raw)
	return m.scratch, err
}

// value reads the value of a field.
func (m *reader) value(f *field, part int) error {
	if f.part != 0 {
		part = f.part
	}
	token := m.json.PeekKind()
	if part != 0 && f.part == 0 {
		m.sizes[part] += len(f.name)
	}
	switch {
	case token == 'n': // as if it was not there
	case f.kind == aMessage && token == '{':
		return m.message(f.of, part)
	case f.kind == aMap && token == '{':
		return m.entries(f, part)
	case (f.kind == strs || f.kind == durations) && token == '[':
		return m.list(f, part)
	default:
		raw, err := m.json.ReadValue()
		if err != nil {
			return err
		}
		return m.scalar(f, part, raw)
	}
	return m.json.SkipValue()
}

// list reads a list.
func (m *reader) list(f *field, part int) error {
	if _, err := m.json.ReadToken(); err != nil {
		return err
	}
	one := *f
	one.kind = aString
	if f.kind == durations {
		one.kind = aDuration
	}
	path := len(m.path)
	for i := 0; m.json.PeekKind() != ']'; i++ {
		raw, err := m.json.ReadValue()
		if err != nil {
			return err
		}
		m.path = append(strconv.AppendInt(append(m.path, '['), int64(i), 10), ']')
		err = m.scalar(&one, part, raw)
		m.path = m.path[:path]
		if err != nil {
			return err
		}
	}
	_, err := m.json.ReadToken()
	return err
}

// entries reads a map of strings.
func (m *reader) entries(f *field, part int) error {
	if _, err := m.json.ReadToken(); err != nil {
		return err
	}
	for i := 0; m.json.PeekKind() != '}'; i++ {
		name, err := m.name()
		if err != nil {
			return err
		}
		m.sizes[part] += len(name)
		keep := 0
		if part != 0 {
			if keep = dataTexts[string(name)]; string(name) == m.idKey {
				keep = textID
			}
			if reserved(name) {
				m.wrong = m.note(m.wrong, fmt.Sprintf("Invalid data payload key: %s", clip(name)))
			}
		}
		raw, err := m.json.ReadValue()
		if err != nil {
			return err
		}
		if raw.Kind() != '"' {
			path := len(m.path)
			m.path = append(strconv.AppendInt(append(m.path, '['), int64(i), 10), "].value"...)
			m.invalid(wants[aString], raw)
			m.path = m.path[:path]
			continue
		}
		text, err := m.unquote(raw)
		if err != nil {
			return err
		}
		m.sizes[part] += len(text)
		m.keep(keep, text)
	}
	_, err := m.json.ReadToken()
	return err
}

// reserved reports whether a key of data is Google's own (spec/channels.md, 5).
func reserved(key []byte) bool {
	return string(key) == "from" || string(key) == "message_type" || bytes.HasPrefix(key, []byte("google.")) || bytes.HasPrefix(key, []byte("gcm."))
}

func (m *reader) keep(i int, text []byte) {
	if i == 0 {
		return
	}
	from := len(m.arena)
	m.arena = append(m.arena, text...)
	m.kept[i] = span{from, len(m.arena), true}
}

// scalar checks a value that is neither a message nor a list.
func (m *reader) scalar(f *field, part int, raw jsontext.Value) error {
	token := raw.Kind()
	text := []byte(raw)
	if token == '"' {
		var err error
		if text, err = m.unquote(raw); err != nil {
			return err
		}
	}
	if part != 0 {
		m.sizes[part] += len(text)
	}
	if !f.fits(token, text) {
		want := wants[f.kind]
		if f.kind == anEnum {
			want = fcmV1 + f.enum
		}
		m.invalid(want, raw)
		return nil
	}
	if f == validateOnly {
		m.validateOnly = token == 't'
	}
	if f.check != nil {
		if words := f.check(string(text)); words != "" {
			m.wrong = m.note(m.wrong, words)
		}
	}
	m.keep(f.text, text)
	return nil
}

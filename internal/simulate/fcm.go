package simulate

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// fcmPath is what the paths of FCM begin with (spec/channels.md, 5).
const (
	fcmPath = "/v1/projects/"
	fcmSend = "/messages:send"
)

// maxRequest bounds the body of a request. The limit of Google's front end is higher; no
// message of 4096 bytes comes near this one.
const maxRequest = 64 << 10

// fcm is Firebase Cloud Messaging, HTTP v1.
type fcm struct{ *Simulator }

var bodies = sync.Pool{New: func() any { return new(reader) }}

// send serves messages:send.
func (f *fcm) send(w http.ResponseWriter, r *http.Request) {
	project, ok := strings.CutSuffix(r.URL.Path[len(fcmPath):], fcmSend)
	if !ok || strings.Contains(project, "/") || r.Method != http.MethodPost {
		page(w, http.StatusNotFound)
		return
	}
	if no := f.authorize(r, project); no != nil {
		f.refuse(w, no, nil)
		return
	}
	m := bodies.Get().(*reader)
	defer bodies.Put(m)
	if no := m.read(r); no != nil {
		f.refuse(w, no, nil)
		return
	}
	if no := m.check(f.options.IDKey); no != nil {
		f.refuse(w, no, m)
		return
	}
	token, id := m.target(), m.text(textID)
	hash := hashOf(token)
	fate, delay := f.state.judge(token, hash, hashOf(id))
	if m.validateOnly && fate == Accepted {
		fate = Validated
	}
	if f.state.sleep(r.Context(), delay) != nil {
		fate = Hang // the client did not wait
	}
	f.ledger.record(fate, hash, id, time.Now())
	switch fate {
	case Accepted, Lost:
		f.deliver(m)
	case Validated:
	default:
		f.tell(m, fate, words(fate))
	}
	f.meet(w, r, project, fate, m)
}

// words returns what people are told about a fate.
func words(f Fate) string {
	if a := answers[f]; a != nil {
		return fmt.Sprintf("%d %s", a.code, orElse(a.fcm, a.status))
	}
	return map[Fate]string{Gateway: "502", Hang: "no answer", Reset: "stream reset"}[f]
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// meet answers according to a fate.
func (f *fcm) meet(w http.ResponseWriter, r *http.Request, project string, fate Fate, m *reader) {
	switch fate {
	case Accepted, Validated:
		f.accept(w, project, fate)
	case Hang:
		select {
		case <-r.Context().Done():
		case <-f.state.ended:
		}
		abort()
	case Reset, Lost:
		abort()
	case Gateway:
		page(w, http.StatusBadGateway)
	default:
		a := answers[fate]
		if fate == BadToken && m.kept[textFID].set {
			a = badFID
		}
		a.write(w, time.Duration(f.state.plan.Load().RetryAfter))
	}
}

// abort ends a request without an answer: it resets the stream, of HTTP/1.1 the
// connection.
func abort() { panic(http.ErrAbortHandler) }

// accept answers with the name of a message.
func (f *fcm) accept(w http.ResponseWriter, project string, fate Fate) {
	name := "fake_message_id" // what a dry run gets
	if fate == Accepted {
		name = "0:" + strconv.FormatUint(f.serial.Add(1), 10) + "%simulator"
	}
	body := make([]byte, 0, 128)
	body = append(body, "{\n  \"name\": \"projects/"...)
	body = append(body, project...)
	body = append(body, "/messages/"...)
	body = append(body, name...)
	body = append(body, "\"\n}\n"...)
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.Write(body)
}

// authorize returns why a request may not send messages of a project.
func (f *fcm) authorize(r *http.Request, project string) *answer {
	header := r.Header["Authorization"]
	if len(header) == 0 {
		return noToken
	}
	token, ok := strings.CutPrefix(header[0], "Bearer ")
	if !ok || len(header) > 1 {
		return answers[Unauthenticated]
	}
	g, ok := f.accounts.byToken(token, f.state.now())
	switch {
	case !ok || f.revoked(g.account):
		return answers[Unauthenticated]
	case !g.scoped:
		return noScope
	case g.account.project != project && !f.accounts.hasProject(project):
		return answers[NoProject]
	case g.account.project != project || f.forbidden(g.account):
		return answers[Forbidden]
	}
	return nil
}

// refuse answers a request that did not get as far as a fate.
func (f *fcm) refuse(w http.ResponseWriter, a *answer, m *reader) {
	f.ledger.totals[a.fate].Add(1)
	f.tell(m, a.fate, strconv.Itoa(a.code)+" "+a.message)
	a.write(w, time.Duration(f.state.plan.Load().RetryAfter))
}

// tell tells the hook of a message that was not accepted; m is nil if it was not read.
func (f *fcm) tell(m *reader, fate Fate, words string) {
	if f.hooks.refused == nil {
		return
	}
	r := Refusal{Time: time.Now(), Provider: "fcm", Fate: fate, Words: words}
	if m != nil {
		r.Token, r.ID = string(m.target()), string(m.text(textID))
	}
	f.hooks.refuse(r)
}

// deliver tells the hook of a message.
func (f *fcm) deliver(m *reader) {
	if f.hooks.delivered == nil {
		return
	}
	first := func(texts ...int) string {
		for _, t := range texts {
			if s := m.text(t); len(s) > 0 {
				return string(s)
			}
		}
		return ""
	}
	f.hooks.deliver(Delivery{
		Time: time.Now(), Provider: "fcm", Token: string(m.target()), ID: string(m.text(textID)), Size: m.size,
		Title: first(textAndroidTitle, textTitle, textDataTitle), Text: first(textAndroidBody, textBody, textDataBody), ChannelID: first(textChannel),
	})
}

// read reads the body of a request.
func (m *reader) read(r *http.Request) *answer {
	if kind := r.Header.Get("Content-Type"); kind != "application/json" {
		if kind, _, err := mime.ParseMediaType(kind); err != nil || kind != "application/json" {
			return refused("Invalid content type: want application/json", false)
		}
	}
	m.body.Reset()
	if _, err := m.body.ReadFrom(io.LimitReader(r.Body, maxRequest+1)); err != nil {
		return refused("Invalid JSON payload received. The body ended early.", false)
	}
	if m.body.Len() > maxRequest {
		return refused(fmt.Sprintf("Request payload size exceeds the limit: %d bytes.", maxRequest), false)
	}
	if len(bytes.TrimSpace(m.body.Bytes())) == 0 {
		return refused("Invalid JSON payload received. Unexpected end of string.", false)
	}
	return nil
}

package fcm

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tidings/internal/channel"
)

// An answer is what FCM said about one message.
type answer struct {
	status int
	header http.Header
	body   []byte
	broken bool // the body ended early
}

// A doubt is what an answer leaves open, and who sent the page can decide.
type doubt uint8

const (
	settled      doubt = iota
	tokenRefused       // the access token: again with another one
	whichOne           // INVALID_ARGUMENT: the payload or the registration token (see page.probe)
	foreign            // the registration token or all the credentials are of another sender
	appleKey           // the project has no good key for APNs or Web Push, which only such devices need
)

// The waits if FCM names none (spec/channels.md, 0): a message to a project or device is
// counted by the minute, collapsible messages come back one in three minutes. Nothing is
// believed that is longer than maxAfter.
const (
	quotaAfter       = time.Minute
	collapsibleAfter = 3 * time.Minute
	maxAfter         = time.Hour
)

// reply is the JSON of an error.
type reply struct {
	Error struct {
		Message string   `json:"message"`
		Status  string   `json:"status"`
		Details []detail `json:"details"`
	} `json:"error"`
}

// A detail is any of those that matter: FcmError, google.rpc.BadRequest, google.rpc.QuotaFailure.
type detail struct {
	Type            string `json:"@type"`
	ErrorCode       string `json:"errorCode"`
	FieldViolations []struct {
		Field       string `json:"field"`
		Description string `json:"description"`
	} `json:"fieldViolations"`
	Violations []struct {
		Subject     string `json:"subject"`
		Description string `json:"description"`
	} `json:"violations"`
}

// classify returns the outcome of an answer by the table of spec/channels.md, 5, with the
// corrections of 0, and what it leaves open. Now is the time by which dates are read.
// Secrets may be in what FCM says, and are taken out.
func classify(a answer, now time.Time, secrets ...string) (channel.Result, doubt) {
	r := channel.Result{Status: a.status}
	if a.status == http.StatusOK {
		return accepted(a, r, secrets)
	}
	var said reply
	err := json.Unmarshal(a.body, &said)
	if wrong := err != nil && !json.Valid(a.body); wrong || a.broken || a.status < 400 {
		return foreignAnswer(a, r, now, secrets)
	}
	r.Words = clean(said.Error.Message, secrets...)
	if r.Words == "" {
		r.Words = clean(string(a.body), secrets...)
	}
	fcmError := ""
	for _, d := range said.Error.Details {
		if d.ErrorCode != "" {
			fcmError = d.ErrorCode
			break
		}
	}
	r.Code = code(fcmError, secrets...)
	if r.Code == "" {
		r.Code = code(said.Error.Status, secrets...)
	}
	return decide(a, said, fcmError, r, now)
}

// accepted is for answers with 200. Those of FCM name the message; what does not is an
// answer of somebody else on the way, and the message may have arrived or not. A body that
// broke off changes nothing about the status.
func accepted(a answer, r channel.Result, secrets []string) (channel.Result, doubt) {
	if a.broken || bytes.Contains(a.body, []byte(`"name"`)) {
		r.Outcome = channel.Accepted
		return r, settled
	}
	r.Outcome, r.Code, r.Words = channel.Unknown, channel.CodeNoName, clean(string(a.body), secrets...)
	return r, settled
}

// decide is the table, for answers in the form of FCM.
func decide(a answer, said reply, fcmError string, r channel.Result, now time.Time) (channel.Result, doubt) {
	after := retryAfter(a.header, now)
	later := func(o channel.Outcome, lane bool) (channel.Result, doubt) {
		r.Outcome, r.Lane, r.After = o, lane, after
		return r, settled
	}
	is := func(o channel.Outcome, d doubt) (channel.Result, doubt) {
		r.Outcome = o
		return r, d
	}
	switch {
	case a.status >= 500:
		return later(channel.Retry, a.status == http.StatusServiceUnavailable || after > 0)
	case a.status == http.StatusTooManyRequests || fcmError == "QUOTA_EXCEEDED":
		lane, wait := quota(said)
		if after == 0 {
			after = wait
		}
		return later(channel.Throttled, lane)
	case a.status == http.StatusRequestTimeout:
		return later(channel.Retry, false)
	}
	switch fcmError {
	case "UNREGISTERED":
		return is(channel.Gone, settled)
	case "SENDER_ID_MISMATCH":
		return is(channel.Unauthorized, foreign)
	case "THIRD_PARTY_AUTH_ERROR":
		return is(channel.Unauthorized, appleKey)
	case "UNAVAILABLE", "INTERNAL":
		return later(channel.Retry, fcmError == "UNAVAILABLE")
	}
	switch a.status {
	case http.StatusUnauthorized:
		return is(channel.Unauthorized, tokenRefused)
	case http.StatusForbidden:
		return is(channel.Unauthorized, settled)
	case http.StatusNotFound:
		if fcmError == "" {
			return is(channel.Unauthorized, settled) // the project
		}
	case http.StatusBadRequest:
		return badRequest(said, fcmError, r)
	}
	return is(channel.Rejected, settled)
}

// badRequest tells a bad registration token from a bad message.
func badRequest(said reply, fcmError string, r channel.Result) (channel.Result, doubt) {
	r.Outcome = channel.Rejected
	violated := false
	for _, d := range said.Error.Details {
		for _, v := range d.FieldViolations {
			violated = true
			if v.Field == "message.token" || v.Field == "message.fid" {
				r.Outcome = channel.Gone
				return r, settled
			}
		}
	}
	if fcmError == "INVALID_ARGUMENT" && !violated {
		r.Outcome = channel.Gone
		return r, whichOne
	}
	return r, settled
}

// quota returns whether a quota is that of the project, and how long to wait if FCM does
// not say. What is not said to be of a device is taken for the project's.
func quota(said reply) (lane bool, wait time.Duration) {
	for _, d := range said.Error.Details {
		for _, v := range d.Violations {
			for _, text := range []string{v.Subject, v.Description} {
				switch text = strings.ToLower(text); {
				case strings.Contains(text, "project"):
					return true, quotaAfter
				case strings.Contains(text, "collaps"):
					return false, collapsibleAfter
				case strings.Contains(text, "device"), strings.Contains(text, "token"):
					return false, quotaAfter
				}
			}
		}
	}
	return true, quotaAfter
}

// foreignAnswer is for answers that FCM does not give: of a proxy, of a wrong address, or
// broken off. None of them says anything about a registration token or a message.
func foreignAnswer(a answer, r channel.Result, now time.Time, secrets []string) (channel.Result, doubt) {
	r.Words = clean(string(a.body), secrets...)
	r.Code = "HTTP_" + strconv.Itoa(a.status)
	r.Outcome = channel.Retry
	r.After = retryAfter(a.header, now)
	whole := !a.broken && !bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("{"))
	switch {
	case a.status < 300: // the message may have arrived
		r.Outcome, r.After = channel.Unknown, 0
	case a.status < 400: // redirects are not followed
		r.Lane = true
	case a.status == http.StatusUnauthorized:
		r.Outcome, r.After = channel.Unauthorized, 0
		return r, tokenRefused
	case a.status == http.StatusForbidden && whole, a.status == http.StatusNotFound && whole:
		r.Outcome, r.After = channel.Unauthorized, 0
	case a.status == http.StatusRequestEntityTooLarge:
		r.Outcome, r.After = channel.Rejected, 0
	case a.status == http.StatusTooManyRequests:
		r.Outcome, r.Lane = channel.Throttled, true
		if r.After == 0 {
			r.After = quotaAfter
		}
	case a.status == http.StatusServiceUnavailable:
		r.Lane = true
	}
	return r, settled
}

// retryAfter reads Retry-After in both its forms (RFC 9110, 10.2.3); 0: there is none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if text == "" {
		return 0
	}
	var after time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		after = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date // the clock that Retry-After is by
		}
		after = at.Sub(now)
	} else {
		return 0
	}
	return min(max(after, minRetry), maxAfter)
}

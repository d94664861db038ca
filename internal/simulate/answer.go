package simulate

import (
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// An answer is an error in Google's form: {"error": {code, message, status, details}}
// (spec/channels.md, 5).
type answer struct {
	fate       Fate
	code       int
	status     string // of google.rpc.Code
	message    string
	fcm        string      // errorCode of FcmError; empty: there is none
	violations []violation // of google.rpc.BadRequest
	quota      *violation  // of google.rpc.QuotaFailure, whose field is the subject
	reason     string      // of google.rpc.ErrorInfo; empty: there is none
}

// A violation is of a field, or of the quota of a subject.
type violation struct{ field, description string }

// answers are those of the fates that are answered by an error.
var answers = [fates]*answer{
	Gone:        {code: 404, status: "NOT_FOUND", fcm: "UNREGISTERED", message: "Requested entity was not found."},
	Malformed:   {code: 400, status: "INVALID_ARGUMENT", fcm: "INVALID_ARGUMENT", message: "The registration token is not a valid FCM registration token"},
	BadToken:    {code: 400, status: "INVALID_ARGUMENT", fcm: "INVALID_ARGUMENT", message: "Invalid registration token", violations: []violation{{"message.token", "Invalid registration token"}}},
	Sender:      {code: 403, status: "PERMISSION_DENIED", fcm: "SENDER_ID_MISMATCH", message: "SenderId mismatch"},
	ThirdParty:  {code: 401, status: "UNAUTHENTICATED", fcm: "THIRD_PARTY_AUTH_ERROR", message: "Auth error from APNS or Web Push Service"},
	Forbidden:   {code: 403, status: "PERMISSION_DENIED", reason: "IAM_PERMISSION_DENIED", message: "Permission 'cloudmessaging.messages.create' denied on the project (or it may not exist)."},
	NoProject:   {code: 404, status: "NOT_FOUND", message: "Requested entity was not found."},
	Throttle:    {code: 429, status: "RESOURCE_EXHAUSTED", fcm: "QUOTA_EXCEEDED", message: "Quota exceeded: message rate of the project", quota: &violation{"project", "Message rate exceeded for the project"}},
	Device:      {code: 429, status: "RESOURCE_EXHAUSTED", fcm: "QUOTA_EXCEEDED", message: "Quota exceeded: message rate of the device", quota: &violation{"device", "Device message rate exceeded"}},
	Collapsible: {code: 429, status: "RESOURCE_EXHAUSTED", fcm: "QUOTA_EXCEEDED", message: "Quota exceeded: collapsible messages to the device", quota: &violation{"device:collapsible", "Collapsible message rate exceeded for the device"}},
	Internal:    {code: 500, status: "INTERNAL", fcm: "INTERNAL", message: "Internal error encountered."},
	Unavailable: {code: 503, status: "UNAVAILABLE", fcm: "UNAVAILABLE", message: "The service is currently unavailable."},
	Unspecified: {code: 400, status: "FAILED_PRECONDITION", fcm: "UNSPECIFIED_ERROR", message: "Precondition check failed."},
	Unauthenticated: {
		code: 401, status: "UNAUTHENTICATED", reason: "ACCESS_TOKEN_EXPIRED",
		message: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
	},
}

func init() {
	for f, a := range answers {
		if a != nil {
			a.fate = Fate(f)
		}
	}
}

// badFID is BadToken of a message to an installation id.
var badFID = &answer{fate: BadToken, code: 400, status: "INVALID_ARGUMENT", fcm: "INVALID_ARGUMENT", message: "Invalid installation id", violations: []violation{{"message.fid", "Invalid installation id"}}}

// Of a request that comes without an access token, and with one that may do other things.
var (
	noToken = &answer{
		fate: Unauthenticated, code: 401, status: "UNAUTHENTICATED", reason: "CREDENTIALS_MISSING",
		message: "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
	}
	noScope = &answer{
		fate: Forbidden, code: 403, status: "PERMISSION_DENIED", reason: "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
		message: "Request had insufficient authentication scopes.",
	}
)

// refused returns the answer to a request that is wrong. One that FCM itself refuses says
// so in an FcmError, one that cannot be read as a message does not.
func refused(message string, byFCM bool, violations ...violation) *answer {
	a := &answer{fate: Invalid, code: http.StatusBadRequest, status: "INVALID_ARGUMENT", message: message, violations: violations}
	if byFCM {
		a.fcm = "INVALID_ARGUMENT"
	}
	return a
}

var jsonType = []string{"application/json; charset=UTF-8"}

// write sends an answer. Retry is the Retry-After of those that may have one; 0: none.
func (a *answer) write(w http.ResponseWriter, retry time.Duration) {
	h := w.Header()
	h["Content-Type"] = jsonType
	if retry > 0 && (a.code == http.StatusTooManyRequests || a.code == http.StatusServiceUnavailable) {
		h["Retry-After"] = []string{strconv.Itoa(int((retry + time.Second - 1) / time.Second))}
	}
	if a.code == http.StatusUnauthorized && a.fcm == "" {
		h["Www-Authenticate"] = []string{`Bearer realm="https://accounts.google.com/", error="invalid_token"`}
	}
	body := a.append(make([]byte, 0, 512))
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(a.code)
	w.Write(body)
}

// append appends the JSON of an answer.
func (a *answer) append(b []byte) []byte {
	b = append(b, `{"error":{"code":`...)
	b = strconv.AppendInt(b, int64(a.code), 10)
	b = member(b, `,"message":`, a.message)
	b = member(b, `,"status":`, a.status)
	separator := `,"details":[`
	detail := func(kind string) {
		b = append(b, separator...)
		separator = ","
		b = member(b, `{"@type":`, "type.googleapis.com/"+kind)
	}
	if a.fcm != "" {
		detail("google.firebase.fcm.v1.FcmError")
		b = member(b, `,"errorCode":`, a.fcm)
		b = append(b, '}')
	}
	if a.reason != "" {
		detail("google.rpc.ErrorInfo")
		b = member(b, `,"reason":`, a.reason)
		b = append(b, `,"domain":"googleapis.com"}`...)
	}
	if len(a.violations) > 0 {
		detail("google.rpc.BadRequest")
		b = append(b, `,"fieldViolations":[`...)
		b = list(b, "field", a.violations)
	}
	if a.quota != nil {
		detail("google.rpc.QuotaFailure")
		b = append(b, `,"violations":[`...)
		b = list(b, "subject", []violation{*a.quota})
	}
	if separator == "," {
		b = append(b, ']')
	}
	return append(b, "}}\n"...)
}

func list(b []byte, name string, violations []violation) []byte {
	for i, v := range violations {
		if i > 0 {
			b = append(b, ',')
		}
		b = member(b, `{"`+name+`":`, v.field)
		b = member(b, `,"description":`, v.description)
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

func member(b []byte, name, value string) []byte {
	b = append(b, name...)
	b, _ = jsontext.AppendQuote(b, value) // what is no UTF-8 is replaced
	return b
}

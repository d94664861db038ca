package fcm

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"tidings/internal/channel"
	"tidings/internal/channel/channeltest"
)

func violation(field string) string {
	return `{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"` + field + `","description":"wrong"}]}`
}

func quotaFailure(subject, description string) string {
	return `{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"subject":"` + subject + `","description":"` + description + `"}]}`
}

func with(a channeltest.Answer, name, value string) channeltest.Answer {
	a.Header = map[string]string{name: value}
	return a
}

// rows is the table of spec/channels.md, 5, with the corrections of 0.
var rows = []channeltest.Row{
	{
		Name: "malformed token", Answer: refusal(400, "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token", fcmError("INVALID_ARGUMENT")),
		Want: channel.Result{Outcome: channel.Gone, Code: "INVALID_ARGUMENT", Words: "The registration token is not a valid FCM registration token"},
	},
	{
		Name: "violation of the payload", Answer: refusal(400, "INVALID_ARGUMENT", "Invalid value at 'message.android.ttl'", fcmError("INVALID_ARGUMENT"), violation("message.android.ttl")),
		Want: channel.Result{Outcome: channel.Rejected, Code: "INVALID_ARGUMENT", Words: "Invalid value at 'message.android.ttl'"},
	},
	{
		Name: "violation of token", Answer: refusal(400, "INVALID_ARGUMENT", "Invalid registration token", violation("message.token"), fcmError("INVALID_ARGUMENT")),
		Want: channel.Result{Outcome: channel.Gone, Code: "INVALID_ARGUMENT", Words: "Invalid registration token"},
	},
	{
		Name: "violation of fid", Answer: refusal(400, "INVALID_ARGUMENT", "Invalid installation id", violation("message.fid")),
		Want: channel.Result{Outcome: channel.Gone, Code: "INVALID_ARGUMENT", Words: "Invalid installation id"},
	},
	{
		Name: "no JSON for FCM", Answer: refusal(400, "INVALID_ARGUMENT", "Invalid JSON payload received."),
		Want: channel.Result{Outcome: channel.Rejected, Code: "INVALID_ARGUMENT", Words: "Invalid JSON payload received."},
	},
	{
		Name: "key of Apple", Answer: refusal(401, "UNAUTHENTICATED", "Auth error from APNS or Web Push Service", fcmError("THIRD_PARTY_AUTH_ERROR")),
		Want: channel.Result{Outcome: channel.Unauthorized, Code: "THIRD_PARTY_AUTH_ERROR", Words: "Auth error from APNS or Web Push Service"},
	},
	{
		Name: "access token", Answer: refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
		Want: channel.Result{Outcome: channel.Unauthorized, Code: "UNAUTHENTICATED", Words: "Request had invalid authentication credentials."},
	},
	{
		Name: "foreign sender", Answer: refusal(403, "PERMISSION_DENIED", "SenderId mismatch", fcmError("SENDER_ID_MISMATCH")),
		Want: channel.Result{Outcome: channel.Unauthorized, Code: "SENDER_ID_MISMATCH", Words: "SenderId mismatch"},
	},
	{
		Name: "permission", Answer: refusal(403, "PERMISSION_DENIED", "Permission denied on resource project."),
		Want: channel.Result{Outcome: channel.Unauthorized, Code: "PERMISSION_DENIED", Words: "Permission denied on resource project."},
	},
	{
		Name: "unregistered", Answer: refusal(404, "NOT_FOUND", "Requested entity was not found.", fcmError("UNREGISTERED")),
		Want: channel.Result{Outcome: channel.Gone, Code: "UNREGISTERED", Words: "Requested entity was not found."},
	},
	{
		Name: "no such project", Answer: refusal(404, "NOT_FOUND", "Requested entity was not found."),
		Want: channel.Result{Outcome: channel.Unauthorized, Code: "NOT_FOUND", Words: "Requested entity was not found."},
	},
	{
		Name: "no such address", Answer: channeltest.Answer{Status: 404, Body: "<html>404</html>"},
		Want: channel.Result{Outcome: channel.Unauthorized, Code: "HTTP_404", Words: "<html>404</html>"},
	},
	{
		Name: "quota of the project", Answer: refusal(429, "RESOURCE_EXHAUSTED", "Quota exceeded", fcmError("QUOTA_EXCEEDED"), quotaFailure("project:1234", "Message rate of a device or project exceeded")),
		Want: channel.Result{Outcome: channel.Throttled, Code: "QUOTA_EXCEEDED", Words: "Quota exceeded", After: time.Minute, Lane: true},
	},
	{
		Name: "quota of the project, in seconds", Answer: with(refusal(429, "RESOURCE_EXHAUSTED", "Quota exceeded", fcmError("QUOTA_EXCEEDED"), quotaFailure("", "for the Project")), "Retry-After", "77"),
		Want: channel.Result{Outcome: channel.Throttled, Code: "QUOTA_EXCEEDED", Words: "Quota exceeded", After: 77 * time.Second, Lane: true},
	},
	{
		Name: "quota of nobody", Answer: with(refusal(429, "RESOURCE_EXHAUSTED", "Quota exceeded", fcmError("QUOTA_EXCEEDED")), "Retry-After", "1"),
		Want: channel.Result{Outcome: channel.Throttled, Code: "QUOTA_EXCEEDED", Words: "Quota exceeded", After: 10 * time.Second, Lane: true},
	},
	{
		Name: "quota of the device", Answer: refusal(429, "RESOURCE_EXHAUSTED", "Quota exceeded", fcmError("QUOTA_EXCEEDED"), quotaFailure("device", "Device message rate exceeded in the project")),
		Want: channel.Result{Outcome: channel.Throttled, Code: "QUOTA_EXCEEDED", Words: "Quota exceeded", After: time.Minute},
	},
	{
		Name: "quota of collapsible messages", Answer: refusal(429, "RESOURCE_EXHAUSTED", "Quota exceeded", fcmError("QUOTA_EXCEEDED"), quotaFailure("device:collapsible", "")),
		Want: channel.Result{Outcome: channel.Throttled, Code: "QUOTA_EXCEEDED", Words: "Quota exceeded", After: 3 * time.Minute},
	},
	{
		Name: "quota without JSON", Answer: channeltest.Answer{Status: 429},
		Want: channel.Result{Outcome: channel.Throttled, Code: "HTTP_429", After: time.Minute, Lane: true},
	},
	{
		Name: "internal", Answer: refusal(500, "INTERNAL", "Internal error encountered.", fcmError("INTERNAL")),
		Want: channel.Result{Outcome: channel.Retry, Code: "INTERNAL", Words: "Internal error encountered."},
	},
	{
		Name: "unavailable", Answer: refusal(503, "UNAVAILABLE", "The service is currently unavailable.", fcmError("UNAVAILABLE")),
		Want: channel.Result{Outcome: channel.Retry, Code: "UNAVAILABLE", Words: "The service is currently unavailable.", Lane: true},
	},
	{
		Name: "unavailable until a date", Answer: channeltest.Answer{
			Status: 503, Body: refusal(503, "UNAVAILABLE", "Later.", fcmError("UNAVAILABLE")).Body,
			Header: map[string]string{"Date": "Wed, 25 Nov 2026 14:00:00 GMT", "Retry-After": "Wed, 25 Nov 2026 14:02:00 GMT"},
		},
		Want: channel.Result{Outcome: channel.Retry, Code: "UNAVAILABLE", Words: "Later.", After: 2 * time.Minute, Lane: true},
	},
	{
		Name: "unavailable for ever", Answer: with(refusal(503, "UNAVAILABLE", "Later.", fcmError("UNAVAILABLE")), "Retry-After", "4000000000"),
		Want: channel.Result{Outcome: channel.Retry, Code: "UNAVAILABLE", Words: "Later.", After: time.Hour, Lane: true},
	},
	{
		Name: "unspecified 4xx", Answer: refusal(400, "FAILED_PRECONDITION", "Precondition check failed.", fcmError("UNSPECIFIED_ERROR")),
		Want: channel.Result{Outcome: channel.Rejected, Code: "UNSPECIFIED_ERROR", Words: "Precondition check failed."},
	},
	{
		Name: "unspecified 5xx", Answer: refusal(501, "UNIMPLEMENTED", "Not here.", fcmError("UNSPECIFIED_ERROR")),
		Want: channel.Result{Outcome: channel.Retry, Code: "UNSPECIFIED_ERROR", Words: "Not here."},
	},
	{
		Name: "too large", Answer: channeltest.Answer{Status: 413, Body: "too large"},
		Want: channel.Result{Outcome: channel.Rejected, Code: "HTTP_413", Words: "too large"},
	},
	{
		Name: "a page of a proxy", Answer: channeltest.Answer{Status: 200, Body: "<html>Log in</html>"},
		Want: channel.Result{Outcome: channel.Unknown, Code: channel.CodeNoName, Words: "<html>Log in</html>", Replaces: true},
	},
}

func subject() channeltest.Subject {
	return channeltest.Subject{
		Open: func(t testing.TB, base string, roots *x509.CertPool, timeout time.Duration) channel.Sender {
			tokens := newGoogle(t, false)
			d, err := New(Options{BaseURL: base, TokenURL: tokens.URL + "/token", Roots: roots, Rate: -1})
			if err != nil {
				t.Fatal(err)
			}
			d.opts.Timeout = timeout
			s, err := d.Open(channel.Credential{Secret: secretOf(t, members())}, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s
		},
		Job:     job,
		Target:  target,
		Accept:  accept,
		Gone:    refusal(404, "NOT_FOUND", "Requested entity was not found.", fcmError("UNREGISTERED")),
		Refused: refusal(403, "PERMISSION_DENIED", "Permission denied on resource project."),
		Rows:    rows,
		Secrets: []string{strings.ReplaceAll(testKey(), "\n", ""), testKey(), "access-token-1"},
		Anew:    true,
	}
}

func TestSuite(t *testing.T) { channeltest.Run(t, subject()) }

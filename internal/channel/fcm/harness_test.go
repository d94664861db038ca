package fcm

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"tidings/internal/channel"
	"tidings/internal/channel/channeltest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// testKey makes the key of the service accounts of all tests.
var testKey = sync.OnceValue(func() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
})

// members are the members of a service account whose token_uri is Google's.
func members() map[string]any {
	return map[string]any{
		"type":           "service_account",
		"project_id":     "chat-prod",
		"private_key_id": "3f0c5d7e9a",
		"private_key":    testKey(),
		"client_email":   "sender@chat-prod.iam.gserviceaccount.com",
		"client_id":      "1234",
		"token_uri":      GoogleTokenURL,
	}
}

func secretOf(t testing.TB, m map[string]any) channel.Secret {
	t.Helper()
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// google is a fake of FCM and of Google's token endpoint.
type google struct {
	*channeltest.Fake
	mu     sync.Mutex
	tokens int                                         // access tokens that were issued
	issue  func(n int) channeltest.Answer              // nil: access-token-n
	send   func(token, body string) channeltest.Answer // nil: accepts all
	sendTo func(*http.Request) *channeltest.Answer     // before send; nil: that decides
}

func newGoogle(t testing.TB, secure bool) *google {
	g := &google{}
	g.Fake = channeltest.NewFake(t, secure, func(r *http.Request, body string) channeltest.Answer {
		if r.URL.Path == "/token" {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.tokens++
			if g.issue != nil {
				return g.issue(g.tokens)
			}
			return issued(g.tokens)
		}
		if g.sendTo != nil {
			if a := g.sendTo(r); a != nil {
				return *a
			}
		}
		if g.send != nil {
			return g.send(targetOf(body), body)
		}
		return accept
	})
	return g
}

func issued(n int) channeltest.Answer {
	return channeltest.Answer{Status: 200, Body: fmt.Sprintf(`{"access_token":"access-token-%d","expires_in":3599,"token_type":"Bearer"}`, n)}
}

var accept = channeltest.Answer{Status: 200, Body: `{"name":"projects/chat-prod/messages/0:1"}`}

// targetOf returns the token that a request is for.
func targetOf(body string) string {
	var r struct {
		Message struct{ Token, FID string }
	}
	if json.Unmarshal([]byte(body), &r) != nil {
		return ""
	}
	return r.Message.Token + r.Message.FID
}

// sender opens a sender that talks to the fake.
func (g *google) sender(t testing.TB, o channel.Options, change func(*Options)) *sender {
	t.Helper()
	opts := Options{BaseURL: g.URL, TokenURL: g.URL + "/token", Roots: g.Roots, Rate: -1}
	if change != nil {
		change(&opts)
	}
	d, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.Open(channel.Credential{App: 1, Certificate: 1, Options: o, Secret: secretOf(t, members())}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s.(*sender)
}

// target returns a device whose token has the form of FCM's.
func target(i int) channel.Target {
	return channel.Target{
		Kind:     channel.Alert,
		Address:  channel.Address(fmt.Sprintf("cYyDvP5tR0m%06d:APA91bHun4MxP5egoKMwt2KZFBaFUH-1RYqx%06d", i, i)),
		ReportID: fmt.Sprintf("r-%d", i),
		Badge:    -1,
	}
}

func targets(n int) []channel.Target {
	list := make([]channel.Target, n)
	for i := range list {
		list[i] = target(i)
	}
	return list
}

func job() *channel.Job {
	return &channel.Job{
		Message: &channel.Message{Title: "Gate change", Desc: "Your train leaves from platform 9."},
		Replace: channel.ReplaceText("1_1"),
		Expires: time.Now().Add(time.Hour),
	}
}

// results sends a job and returns the result of each target, each of which there must be
// exactly once.
func results(t testing.TB, s channel.Sender, j *channel.Job, targets []channel.Target) []channel.Result {
	t.Helper()
	return channeltest.Send(t, t.Context(), s, j, targets)
}

// refusal is an error as FCM says it.
func refusal(status int, word, message string, details ...string) channeltest.Answer {
	list := strings.Join(details, ",")
	return channeltest.Answer{Status: status, Body: fmt.Sprintf(`{"error":{"code":%d,"message":%q,"status":%q,"details":[%s]}}`, status, message, word, list)}
}

func fcmError(code string) string {
	return `{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"` + code + `"}`
}

package client_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"tidings/client"
)

// FuzzAnswer gives any answer to a command. It is a success only if it says so,
// and no error shows the ticket, which the answer may quote.
func FuzzAnswer(f *testing.F) {
	const ticket = "eJyrVgrxCdYrSy1SslIy0jNQ0gHzM1NS80oy0zLBwolQweKU7MSCgswUJStDEwMI"
	for _, answer := range []string{
		ok, fail("60007"), fail("0"), "", "null", "[]", "{}", `{"ErrorCode":0}`, `{"ErrorCode":0,"ActionStatus":"FAIL"}`,
		`{"ErrorCode":1e3}`, `{"ErrorCode":"0"}`, `{"ErrorCode":90001,"ErrorInfo":"` + ticket + `"}`, `{"ErrorCode":0,"ErrorList":null}`,
		`{"ErrorCode":0,"ErrorList":[{"To_Account":"a","ErrorCode":70107,"ErrorInfo":"` + ticket + `"}],"UserAttrs":[{"To_Account":"b"}]}`,
	} {
		f.Add(answer)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		transport := roundTripper(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Request: r, Body: io.NopCloser(strings.NewReader(answer))}, nil
		})
		c, err := client.New("http://h", appID, "",
			client.WithTicketSource(func(context.Context) (string, error) { return ticket, nil }),
			client.WithHTTPClient(&http.Client{Transport: transport}), client.WithRetry(client.Retry{Attempts: 1}))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Attrs(t.Context(), []string{"a"})
		if err != nil {
			if strings.Contains(err.Error(), ticket) && !strings.Contains(answer, `"To_Account"`) { // account names are the caller's
				t.Fatalf("error shows the ticket: %v", err)
			}
			return
		}
		var e struct{ ErrorCode *int }
		if json.Unmarshal([]byte(answer), &e) != nil || e.ErrorCode == nil || *e.ErrorCode != 0 {
			t.Fatalf("answer %q is a success", answer)
		}
	})
}

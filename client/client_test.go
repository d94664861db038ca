package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"tidings/client"
	"tidings/internal/usersig"
)

// TestCommands holds what each method sends and what it makes of an answer. The
// bodies are those of the contract (the seed; spec/timpush-api.md, 3 and 4;
// spec/conventions.md, 5).
func TestCommands(t *testing.T) {
	type c = client.Client
	ctx := t.Context()
	for _, tc := range []struct {
		command, body, answer string
		call                  func(*c) (any, error)
		want                  any
		err                   string
	}{
		{
			"timpush/remove_attr", `{"UserAttrs":[{"To_Account":"Mary","Attrs":["sex","city"]},{"To_Account":"xiaoming","Attrs":[]}]}`, ok,
			func(c *c) (any, error) {
				return nil, c.RemoveAttrs(ctx, []client.AttrRemoval{{Account: "Mary", Names: []string{"sex", "city"}}, {Account: "xiaoming"}})
			}, nil, "",
		},
		{
			"timpush/remove_attr", `{"UserAttrs":[{"To_Account":"Mary","Attrs":["shoe_size"]}]}`, `{"ActionStatus":"FAIL","ErrorInfo":"invalid attribute: shoe_size","ErrorCode":90033}`,
			func(c *c) (any, error) {
				return nil, c.RemoveAttrs(ctx, []client.AttrRemoval{{Account: "Mary", Names: []string{"shoe_size"}}})
			}, nil, "timpush/remove_attr: 90033 invalid attribute: shoe_size (request req-1)",
		},
		{
			"timpush/set_attr", `{"UserAttrs":[{"To_Account":"ada","Attrs":{"plan":"gold"}},{"To_Account":"noor","Attrs":{}}]}`, ok,
			func(c *c) (any, error) {
				return nil, c.SetAttrs(ctx, []client.UserAttrs{{Account: "ada", Attrs: map[string]string{"plan": "gold"}}, {Account: "noor"}})
			}, nil, "",
		},
		{
			"timpush/get_attr", `{"To_Account":["ada","ghost"]}`,
			`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"UserAttrs":[{"To_Account":"ada","Attrs":{"plan":"gold"}}],"ErrorList":[{"To_Account":"ghost","ErrorCode":70107}]}`,
			func(c *c) (any, error) { return c.Attrs(ctx, []string{"ada", "ghost"}) },
			[]client.UserAttrs{{Account: "ada", Attrs: map[string]string{"plan": "gold"}}},
			`timpush/get_attr: 1 account failed; "ghost": 70107`,
		},
		{
			"timpush/set_attr_name", `{"AttrNames":{"0":"plan","2":"build"},"AttrTypes":{"2":1}}`, ok,
			func(c *c) (any, error) {
				return nil, c.SetAttrNames(ctx, map[int]client.AttrName{0: {Name: "plan"}, 2: {Name: "build", Kind: client.RegistrationID}})
			}, nil, "",
		},
		{
			"timpush/get_attr_name", `{}`, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"AttrNames":{"0":"plan","2":"build"},"AttrTypes":{"0":0,"2":1}}`,
			func(c *c) (any, error) { return c.AttrNames(ctx) },
			map[int]client.AttrName{0: {Name: "plan"}, 2: {Name: "build", Kind: client.RegistrationID}},
			"",
		},
		{
			"im_open_login_svc/account_import", `{"UserID":"ada","Nick":""}`, ok,
			func(c *c) (any, error) {
				return nil, c.ImportAccount(ctx, client.Account{UserID: "ada", Nick: new("")})
			}, nil, "",
		},
		{
			"im_open_login_svc/multiaccount_import", `{"AccountList":[{"UserID":"ada","FaceUrl":"u"},{"UserID":"b"}]}`, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"FailAccounts":["b"]}`,
			func(c *c) (any, error) {
				return nil, c.ImportAccounts(ctx, []client.Account{{UserID: "ada", FaceURL: new("u")}, {UserID: "b"}})
			}, nil, `im_open_login_svc/multiaccount_import: 1 account failed; "b": 0 not imported`,
		},
		{
			"im_open_login_svc/account_check", `{"CheckItem":[{"UserID":"a"},{"UserID":"b"}]}`,
			`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"ResultItem":[{"UserID":"a","ResultCode":0,"AccountStatus":"Imported"},{"UserID":"b","ResultCode":0,"AccountStatus":"NotImported"}]}`,
			func(c *c) (any, error) { return c.CheckAccounts(ctx, []string{"a", "b"}) },
			map[string]bool{"a": true, "b": false},
			"",
		},
		{
			"im_open_login_svc/account_delete", `{"DeleteItem":[{"UserID":"a"},{"UserID":"b"}]}`,
			`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"ResultItem":[{"ResultCode":0,"ResultInfo":"","UserID":"a"},{"ResultCode":70107,"ResultInfo":"gone","UserID":"b"}]}`,
			func(c *c) (any, error) { return nil, c.DeleteAccounts(ctx, []string{"a", "b"}) },
			nil, `im_open_login_svc/account_delete: 1 account failed; "b": 70107 gone`,
		},
		{
			"im_open_login_svc/kick", `{"UserID":"a"}`, ok,
			func(c *c) (any, error) { return nil, c.Kick(ctx, "a") }, nil, "",
		},
		{
			"timpush/add_tag", `{"UserTags":[{"To_Account":"ada","Tags":["beta"]},{"To_Account":"b","Tags":[]}]}`, ok,
			func(c *c) (any, error) {
				return nil, c.AddTags(ctx, []client.UserTags{{Account: "ada", Tags: []string{"beta"}}, {Account: "b"}})
			}, nil, "",
		},
		{
			"timpush/add_tag", `{"Replace":1,"UserTags":[{"To_Account":"ada","Tags":[]}]}`, ok,
			func(c *c) (any, error) { return nil, c.ReplaceTags(ctx, []client.UserTags{{Account: "ada"}}) }, nil, "",
		},
		{
			"timpush/remove_tag", `{"UserTags":[{"To_Account":"ada","Tags":["beta","x"]}]}`, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"ErrorList":[{"To_Account":"ada","ErrorCode":70107}]}`,
			func(c *c) (any, error) {
				return nil, c.RemoveTags(ctx, []client.UserTags{{Account: "ada", Tags: []string{"beta", "x"}}})
			}, nil, `timpush/remove_tag: 1 account failed; "ada": 70107`,
		},
		{
			"timpush/clear_all_tags", `{"To_Account":["a","b"]}`, ok,
			func(c *c) (any, error) { return nil, c.ClearTags(ctx, []string{"a", "b"}) }, nil, "",
		},
		{
			"timpush/get_tag", `{"To_Account":["ada"]}`, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"UserTags":[{"To_Account":"ada","Tags":["beta","wk-digest"]}]}`,
			func(c *c) (any, error) { return c.Tags(ctx, []string{"ada"}) },
			[]client.UserTags{{Account: "ada", Tags: []string{"beta", "wk-digest"}}},
			"",
		},
		{
			"tidings/estimate_audience", `{"Where":"plan == \"gold\"","Sample":2}`,
			`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"Count":3,"Clauses":[{"Clause":"plan == \"gold\"","Count":3}],"Sample":["a","c"]}`,
			func(c *c) (any, error) { return c.EstimateAudience(ctx, client.Audience{Where: `plan == "gold"`}, 2) },
			&client.Estimate{Count: 3, Clauses: []client.ClauseCount{{Clause: `plan == "gold"`, Count: 3}}, Sample: []string{"a", "c"}}, "",
		},
		{
			"tidings/estimate_audience", `{"Condition":{"TagsAnd":["a"],"TagsNot":["b"]},"AccountType":1}`,
			`{"ActionStatus":"FAIL","ErrorInfo":"mixed","ErrorCode":90035}`,
			func(c *c) (any, error) {
				_, err := c.EstimateAudience(ctx, client.Audience{Condition: &client.Condition{TagsAnd: []string{"a"}, TagsNot: []string{"b"}}, Kind: client.RegistrationID}, 0)
				return nil, err
			}, nil, "tidings/estimate_audience: 90035 mixed (request req-1)",
		},
		{
			"tidings/explain_audience", `{"Where":"has(\"city\")","To_Account":"ada"}`,
			`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"Match":true,"Clauses":[{"Clause":"has(\"city\")","Match":true}],"Attrs":{"city":"Rome"},"Tags":[]}`,
			func(c *c) (any, error) { return c.ExplainAudience(ctx, client.Audience{Where: `has("city")`}, "ada") },
			&client.Explanation{Match: true, Clauses: []client.ClauseMatch{{Clause: `has("city")`, Match: true}}, Attrs: map[string]string{"city": "Rome"}, Tags: []string{}}, "",
		},
		{
			"tidings/list_audience", `{"Limit":1000}`, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"Accounts":["a","b"]}`,
			func(c *c) (any, error) {
				var accounts []string
				for account, err := range c.ListAudience(ctx, client.Audience{}) {
					if err != nil {
						return nil, err
					}
					accounts = append(accounts, account)
				}
				return accounts, nil
			},
			[]string{"a", "b"},
			"",
		},
		{
			"tidings/list_attr_values", `{"Attr":"city","Prefix":"R","Limit":5}`, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"Values":[{"Value":"Rome","Count":2}],"Total":1}`,
			func(c *c) (any, error) {
				values, total, err := c.AttrValues(ctx, "city", "R", 5)
				return fmt.Sprint(values, total), err
			}, "[{Rome 2}] 1", "",
		},
		{
			"tidings/list_tags", `{"Limit":5}`, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"Tags":[{"Tag":"beta","Count":2,"AccountType":1}],"Total":1}`,
			func(c *c) (any, error) {
				tags, total, err := c.AllTags(ctx, "", 5)
				return fmt.Sprint(tags, total), err
			}, "[{beta 2 1}] 1", "",
		},
		{
			"timpush/get_tag", `{"To_Account":["a"]}`, `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"UserTags":[]}`,
			func(c *c) (any, error) {
				var out map[string]any
				err := c.Call(ctx, "timpush/get_tag", map[string][]string{"To_Account": {"a"}}, &out)
				return out["ActionStatus"], err
			}, "OK", "",
		},
	} {
		t.Run(tc.command, func(t *testing.T) {
			s := &server{answers: []string{tc.answer}}
			got, err := tc.call(newClient(t, s))
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
			if text := fmt.Sprint(err); text != tc.err && (err != nil || tc.err != "") {
				t.Errorf("error is %s, want %s", text, tc.err)
			}
			if len(s.seen()) != 1 || s.seen()[0].command != tc.command || !sameJSON(t, s.seen()[0].body, tc.body) {
				t.Errorf("sent %+v, want once %s %s", s.seen(), tc.command, tc.body)
			}
		})
	}
}

func TestErrorsIs(t *testing.T) {
	c := newClient(t, &server{answers: []string{fail("90033")}})
	_, err := c.Attrs(t.Context(), []string{"a"})
	e, isError := errors.AsType[*client.Error](err)
	if !isError || e.Retryable() || !errors.Is(err, client.ErrInvalidAttribute) || errors.Is(err, client.ErrInternal) {
		t.Errorf("Attrs: %#v, want 90033 that is not retryable", err)
	}
	if !(&client.Error{Code: client.ErrRateLimited}).Retryable() {
		t.Error("60007 is not retryable")
	}
}

func TestErrorTexts(t *testing.T) {
	many := &client.AccountErrors{Command: "timpush/set_attr", List: []client.AccountError{{"a", 70107, ""}, {"b", 70107, "gone"}, {"c", 90035, ""}, {"d", 70107, ""}}}
	for _, tc := range []struct {
		err  error
		want string
	}{
		{many, `timpush/set_attr: 4 accounts failed; "a": 70107; "b": 70107 gone; "c": 90035; ...`},
		{&client.ChunkError{Done: 100, Total: 300, Err: errors.New("cut")}, "after 100 of 300 users: cut"},
		{&client.ChunkError{Done: 100, Total: 300, Err: errors.New("cut"), Users: &client.AccountErrors{Command: "x/y", List: many.List[:1]}}, `after 100 of 300 users: cut; before that x/y: 1 account failed; "a": 70107`},
		{&client.StatusError{Command: "x/y", Status: 502, RequestID: "r"}, "x/y: HTTP status 502"},
		{client.ErrInternal, "code 91000"},
	} {
		if got := tc.err.Error(); got != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
	}
}

// list makes accounts u0 to u<n-1>.
func list(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("u%d", i)
	}
	return ids
}

func TestChunks(t *testing.T) {
	one := `{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"UserAttrs":[{"To_Account":"x","Attrs":{}}],"ErrorList":[{"To_Account":"ghost","ErrorCode":70107}]}`
	t.Run("none", func(t *testing.T) {
		s := &server{answers: []string{ok}}
		if users, err := newClient(t, s).Attrs(t.Context(), nil); err != nil || len(users) != 0 || len(s.seen()) != 0 {
			t.Errorf("Attrs = %v, %v after %d requests; want nothing after none", users, err, len(s.seen()))
		}
	})
	t.Run("all", func(t *testing.T) {
		s := &server{answers: []string{one}}
		users, err := newClient(t, s).Attrs(t.Context(), list(201))
		failed, partial := errors.AsType[*client.AccountErrors](err)
		if !partial || len(failed.List) != 3 || len(users) != 3 || len(s.seen()) != 3 || !errors.Is(err, client.ErrUnknownAccount) {
			t.Errorf("Attrs = %v, %v after %d requests; want 3 users, 3 failures, 3 requests", users, err, len(s.seen()))
		}
		if last := s.seen()[2].body; !sameJSON(t, last, `{"To_Account":["u200"]}`) {
			t.Errorf("third request is %s", last)
		}
	})
	t.Run("refused", func(t *testing.T) {
		s := &server{answers: []string{one, fail("90033")}}
		users, err := newClient(t, s).Attrs(t.Context(), list(300))
		ended, isChunk := errors.AsType[*client.ChunkError](err)
		if !isChunk || ended.Done != 100 || ended.Total != 300 || len(users) != 1 || !errors.Is(err, client.ErrInvalidAttribute) || !errors.Is(err, client.ErrUnknownAccount) {
			t.Errorf("Attrs = %v, %v; want one user and the end after 100", users, err)
		}
	})
	t.Run("refused at once", func(t *testing.T) {
		_, err := newClient(t, &server{answers: []string{fail("90001")}}).Attrs(t.Context(), list(300))
		if _, isChunk := errors.AsType[*client.ChunkError](err); isChunk || !errors.Is(err, client.ErrBadBody) {
			t.Errorf("Attrs: %v, want 90001 and no ChunkError", err)
		}
	})
}

func TestNewRefuses(t *testing.T) {
	source := client.WithTicketSource(func(context.Context) (string, error) { return "t", nil })
	for name, try := range map[string]func() (*client.Client, error){
		"no host":        func() (*client.Client, error) { return client.New("push.example.com", 1, secret) },
		"other scheme":   func() (*client.Client, error) { return client.New("ftp://h", 1, secret) },
		"password":       func() (*client.Client, error) { return client.New("https://u:hunter2@h", 1, secret) },
		"query":          func() (*client.Client, error) { return client.New("https://h?a=b", 1, secret) },
		"control":        func() (*client.Client, error) { return client.New("https://hunter2\x00", 1, secret) },
		"app 0":          func() (*client.Client, error) { return client.New("https://h", 0, secret) },
		"no key":         func() (*client.Client, error) { return client.New("https://h", 1, "") },
		"key and source": func() (*client.Client, error) { return client.New("https://h", 1, secret, source) },
		"no identifier":  func() (*client.Client, error) { return client.New("https://h", 1, secret, client.WithIdentifier("")) },
		"short life": func() (*client.Client, error) {
			return client.New("https://h", 1, secret, client.WithTicketLife(time.Second))
		},
		"negative retry": func() (*client.Client, error) {
			return client.New("https://h", 1, secret, client.WithRetry(client.Retry{Attempts: -1}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := try()
			if err == nil || c != nil {
				t.Fatalf("New = %v, %v; want an error", c, err)
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error shows a secret: %v", err)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	s := &server{answers: []string{ok}}
	c := newClient(t, s)
	for name, err := range map[string]error{
		"command without service": c.Call(t.Context(), "get_tag", nil, nil),
		"command with query":      c.Call(t.Context(), "timpush/get_tag?usersig=x", nil, nil),
		"command with dots":       c.Call(t.Context(), "../get_tag", nil, nil),
		"body that is no JSON":    c.Call(t.Context(), "timpush/get_tag", make(chan int), nil),
		"slot 10":                 c.SetAttrNames(t.Context(), map[int]client.AttrName{10: {Name: "a"}}),
		"account not UTF-8":       c.Kick(t.Context(), "\xff"),
		"value not UTF-8":         c.SetAttrs(t.Context(), []client.UserAttrs{{Account: "a", Attrs: map[string]string{"b": "\xff"}}}),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if len(s.seen()) != 0 {
		t.Errorf("sent %+v, want nothing", s.seen())
	}
}

// roundTripper is a transport made of a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestNoSecrets makes every kind of failure that is near a ticket. The ticket has
// characters that a URL escapes.
func TestNoSecrets(t *testing.T) {
	ticket := usersig.Make(secret, appID, client.DefaultIdentifier, time.Now(), time.Hour, nil)
	for !strings.Contains(ticket, "*") { // the signature depends on the clock
		ticket = usersig.Make(secret, appID, client.DefaultIdentifier, time.Now(), time.Hour, []byte(ticket[:60]))
	}
	source := client.WithTicketSource(func(context.Context) (string, error) { return ticket, nil })
	once := client.WithRetry(client.Retry{Attempts: 1})
	escaped := url.QueryEscape(ticket)
	quoting := fmt.Sprintf(`{"ActionStatus":"FAIL","ErrorInfo":"usersig=%s or %s","ErrorCode":70003}`, ticket, escaped)
	inList := fmt.Sprintf(`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"ErrorList":[{"To_Account":"a","ErrorCode":1,"ErrorInfo":"%s"}]}`, ticket)

	for name, transport := range map[string]roundTripper{
		"refused": func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
		"quoted":  func(r *http.Request) (*http.Response, error) { return nil, fmt.Errorf("cannot reach %s", r.URL) },
		"nested": func(r *http.Request) (*http.Response, error) {
			return nil, &url.Error{Op: "Post", URL: r.URL.String(), Err: errors.New("nested")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := client.New("http://h", appID, "", source, once, client.WithHTTPClient(&http.Client{Transport: transport}))
			if err != nil {
				t.Fatal(err)
			}
			checkSecrets(t, c.Kick(t.Context(), "a"), ticket, escaped)
		})
	}
	for name, answer := range map[string]string{
		"in ErrorInfo": quoting, "in ErrorList": inList, "no JSON": "usersig " + ticket, "status": "502", "redirect": "307", "connection cut": "cut",
		"no envelope": "{}", "null": "null", "code is text": `{"ErrorCode":"` + ticket + `"}`, "too long": `{"ErrorCode":0,"a":"` + strings.Repeat("a", client.MaxAnswerBytes) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := &server{t: t, answers: []string{answer}}
			keyed := newClient(t, s, once)
			err := keyed.Kick(t.Context(), "a")
			checkSecrets(t, err, secret, s.seen()[0].ticket)
			if len(s.seen()) != 1 {
				t.Errorf("sent %d requests, want 1", len(s.seen()))
			}
		})
	}
	s := &server{answers: []string{quoting}}
	c := newClientWith(t, s, source)
	err := c.Kick(t.Context(), "a")
	checkSecrets(t, err, ticket, escaped)
	if e, isError := errors.AsType[*client.Error](err); !isError || e.Info != "usersig=[usersig] or [usersig]" {
		t.Errorf("Kick: %v, want the ticket blanked", err)
	}
}

// newClientWith is newClient without a secret key.
func newClientWith(t *testing.T, s *server, opts ...client.Option) *client.Client {
	t.Helper()
	s.t = t
	c, err := client.New("http://h", appID, "", append(opts, client.WithHTTPClient(&http.Client{Transport: handlerTransport{s}}))...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// checkSecrets wants an error that does not show secrets, nor any error in it.
func checkSecrets(t *testing.T, err error, secrets ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for ; err != nil; err = errors.Unwrap(err) {
		for _, s := range secrets {
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), s) {
				t.Errorf("error shows a secret: %#v", err)
			}
		}
	}
}

func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := &server{answers: []string{ok}}
	if err := newClient(t, s).Kick(ctx, "a"); !errors.Is(err, context.Canceled) || len(s.seen()) != 0 {
		t.Errorf("Kick = %v after %d requests, want context.Canceled and none", err, len(s.seen()))
	}
}

func TestOptions(t *testing.T) {
	var agent, path string
	s := &server{answers: []string{ok}}
	s.t = t
	hc := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		agent, path = r.UserAgent(), r.URL.Path
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/push")
		return handlerTransport{s}.RoundTrip(r)
	})}
	c, err := client.New("https://h/push/", appID, secret, client.WithHTTPClient(hc), client.WithUserAgent("shop/1.2"), client.WithIdentifier("ops"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Kick(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if agent != "shop/1.2" || path != "/push/v4/im_open_login_svc/kick" {
		t.Errorf("User-Agent %q at %q", agent, path)
	}
	if claims, err := usersig.Parse(s.seen()[0].ticket, false); err != nil || claims.Identifier != "ops" || claims.Life != 86400 {
		t.Errorf("ticket says %+v, %v", claims, err)
	}
	if hc.CheckRedirect != nil {
		t.Error("the caller's http.Client was changed")
	}
}

// TestConditionTexts: encoding/json would replace what is not UTF-8, and another
// audience would be counted.
func TestConditionTexts(t *testing.T) {
	s := &server{answers: []string{ok}}
	c := newClient(t, s)
	for _, cond := range []client.Condition{
		{TagsAnd: []string{"a\xff"}},
		{TagsOr: []string{"a\xff"}},
		{TagsNot: []string{"a\xff"}},
		{AttrsAnd: map[string]string{"a\xff": ""}},
		{AttrsOr: map[string]string{"a": "\xff"}},
	} {
		if _, err := c.EstimateAudience(t.Context(), client.Audience{Condition: &cond}, 0); err == nil || !strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("%+v: %v", cond, err)
		}
	}
	if len(s.seen()) > 0 {
		t.Error("something was sent")
	}
}

// TestListAudiencePages asks for pages until there is no next one, and gives the
// error that ends them.
func TestListAudiencePages(t *testing.T) {
	s := &server{answers: []string{
		`{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"Accounts":["a","b"],"Next":"token"}`,
		`{"ActionStatus":"FAIL","ErrorInfo":"too late","ErrorCode":95003}`,
	}}
	c := newClient(t, s)
	var accounts []string
	var err error
	for account, e := range c.ListAudience(t.Context(), client.Audience{Where: `tag("x")`}) {
		if err = e; e == nil {
			accounts = append(accounts, account)
		}
	}
	if fmt.Sprint(accounts) != "[a b]" || !errors.Is(err, client.ErrPageExpired) {
		t.Errorf("got %v, %v", accounts, err)
	}
	if got := s.seen()[1].body; got != `{"Where":"tag(\"x\")","Limit":1000,"Next":"token"}` {
		t.Errorf("the second page was asked for with %s", got)
	}
}

package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"tidings/internal/apierr"
	"tidings/internal/audience"
)

// page asks for a page that must be there.
func (h *harness) page(app uint32, q audience.Query, limit int, after string) audience.Page {
	h.Helper()
	p, err := h.List(h.Context(), app, q, limit, after)
	if err != nil {
		h.Fatalf("List(%d, %s, %d, %q): %v", app, q.Expr, limit, after, err)
	}
	if len(p.Accounts) > limit {
		h.Fatalf("List(%d, %s, %d, %q) has %d accounts", app, q.Expr, limit, after, len(p.Accounts))
	}
	return p
}

// pages asks for a whole list, calling between before each page but the first.
func (h *harness) pages(app uint32, q audience.Query, limit int, between func()) (accounts []string) {
	h.Helper()
	for after := ""; ; {
		p := h.page(app, q, limit, after)
		accounts = append(accounts, p.Accounts...)
		if after = p.Next; after == "" {
			return accounts
		}
		between()
	}
}

// wantPages compares a list with pages of several sizes.
func (h *harness) wantPages(where string, kind audience.Kind, accounts ...string) {
	h.Helper()
	for _, limit := range []int{1, 2, 3, 1000} {
		if got := withoutAdmin(h.pages(id, h.query(where, kind), limit, func() {})); !slices.Equal(got, accounts) {
			h.Errorf("List(%s) in pages of %d is %q, want %q", where, limit, got, accounts)
		}
	}
}

func testList(t *testing.T, h *harness) {
	h.population()
	h.create(id, "aaa") // made last
	h.twice(func() {
		h.wantPages("true", audience.UserID, "ann", "bob", "cid", "dan", "aaa")
		h.wantPages("true", audience.RegistrationID, "p1", "p2")
		h.wantPages(`tag("vip")`, audience.UserID, "ann", "dan")
		h.wantPages(`attr9 != "x"`, audience.UserID, "p1", "p2")
		h.wantPages("false", audience.UserID)
		_, err := h.List(t.Context(), id, h.query(`tag("vip") || attr9 == "ios"`, audience.UserID), 10, "")
		if !errors.Is(err, apierr.WrongAccountKind) {
			t.Errorf("List of both kinds = %v, want 90035", err)
		}
	})
}

// testListFixed: whoever is in the audience with the first page is in the list,
// unless the account is deleted, and nobody else.
func testListFixed(t *testing.T, h *harness) {
	names := make([]string, 12)
	for i := range names {
		names[i] = fmt.Sprint("u", i)
	}
	build := func() {
		for _, name := range names {
			h.change(id, []audience.Change{tagged(name, audience.ReplaceTags, "x")})
		}
	}
	h.saveApp(NewApp(id))
	build()
	q := h.query(`tag("x")`, audience.UserID)
	h.twice(func() {
		step := 0
		order := h.pages(id, q, 1000, nil)
		got := h.pages(id, q, 2, func() {
			switch step++; step {
			case 1: // one that was given, one that follows, and another takes its name
				h.deleteUsers(id, []string{order[0], order[3]}, true, true)
				h.change(id, []audience.Change{tagged(order[3], audience.AddTags, "x")})
			case 2: // no longer, and never, in the audience
				h.change(id, []audience.Change{tagged(order[6], audience.ClearTags), tagged("late", audience.AddTags, "x")})
			case 3: // a place becomes free and is taken
				h.deleteUsers(id, []string{order[9], order[10]}, true, true)
				h.create(id, "later", "latest")
			}
		})
		if want := slices.Concat(order[:3], order[4:9], order[11:]); !slices.Equal(got, want) {
			t.Errorf("the list is %q, want %q", got, want)
		}
		h.deleteUsers(id, []string{"late", "later", "latest"}, true, true, true)
		build()
	})
}

func testPageTokens(t *testing.T, h *harness) {
	h.population()
	h.saveApp(NewApp(id + 1))
	h.change(id+1, []audience.Change{{Account: "a", Create: true}, {Account: "b", Create: true}})
	q := h.query("true", audience.UserID)
	foreign := h.page(id+1, q, 1, "").Next
	own := h.page(id, q, 2, "").Next
	if own == "" || foreign == "" {
		t.Fatalf("tokens %q and %q", own, foreign)
	}
	expired := func(what, token string) {
		t.Helper()
		if p, err := h.List(t.Context(), id, q, 2, token); !errors.Is(err, apierr.PageExpired) {
			t.Errorf("List with %s = %v, %v; want 95003", what, p, err)
		}
	}
	expired("the token of another app", foreign)
	expired("no token at all", "next")
	expired("a token that was cut", own[:len(own)-1])
	expired("a token that is too long", own+own)
	// The same page may be asked for again.
	if first, again := h.page(id, q, 2, own), h.page(id, q, 2, own); !slices.Equal(first.Accounts, again.Accounts) {
		t.Errorf("a page is %q, asked for again %q", first.Accounts, again.Accounts)
	}
	if err := h.DeleteApp(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	h.population()
	expired("the token of an app that was deleted and made again", own)
	h.reopen()
	expired("no token at all", "next")
}

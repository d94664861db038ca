package client

import (
	"context"
	"iter"
	"slices"
)

// An Audience says which users a call is about. The zero value stands for every UserID.
type Audience struct {
	Where     string      `json:",omitempty"` // expression, such as plan == "gold" && !tag("muted"); excludes Condition
	Condition *Condition  `json:",omitempty"` // the condition of a push
	Kind      AccountKind `json:"AccountType,omitzero"`
}

// A Condition selects users by tags or by attributes, not both. Those members of it that
// are not empty must all be true.
type Condition struct {
	TagsAnd  []string          `json:",omitempty"` // has all of them; at most 10 tags in each list
	TagsOr   []string          `json:",omitempty"` // has one of them
	TagsNot  []string          `json:",omitempty"` // has none of them
	AttrsAnd map[string]string `json:",omitempty"` // name to value: has all of them
	AttrsOr  map[string]string `json:",omitempty"` // has one of them
}

// An Estimate says how many users an audience has.
type Estimate struct {
	Count   uint64
	Clauses []ClauseCount // the parts that must be true, each on its own
	Sample  []string      // accounts, spread over the audience
}

// A ClauseCount says how many users one part of a condition selects.
type ClauseCount struct {
	Clause string // as an expression
	Count  uint64
}

// EstimateAudience counts an audience, and returns up to sample of its accounts, at most
// 100. A Where that is no expression is [ErrBadWhere], one that is too large is
// [ErrWhereTooLarge].
//
// Limit: 100 calls per second. Command: tidings/estimate_audience, which only
// Tidings has.
func (c *Client) EstimateAudience(ctx context.Context, a Audience, sample int) (*Estimate, error) {
	type request struct {
		Audience
		Sample int `json:",omitempty"`
	}
	out := new(Estimate)
	if err := c.ask(ctx, "tidings/estimate_audience", a, request{a, sample}, out); err != nil {
		return nil, err
	}
	return out, nil
}

// ask is [Client.Call] for a request about an audience, whose texts it checks.
func (c *Client) ask(ctx context.Context, command string, a Audience, in, out any) error {
	if err := checkText(command, append(a.Condition.texts(), a.Where)...); err != nil {
		return err
	}
	return c.Call(ctx, command, in, out)
}

// texts returns the texts of a condition, which may be nil.
func (c *Condition) texts() []string {
	if c == nil {
		return nil
	}
	texts := slices.Concat(c.TagsAnd, c.TagsOr, c.TagsNot)
	for _, attrs := range []map[string]string{c.AttrsAnd, c.AttrsOr} {
		for name, value := range attrs {
			texts = append(texts, name, value)
		}
	}
	return texts
}

// An Explanation says why an account is in an audience or not.
type Explanation struct {
	Match   bool
	Clauses []ClauseMatch
	Attrs   map[string]string // of the account
	Tags    []string
}

// A ClauseMatch says whether one part of a condition is true of an account.
type ClauseMatch struct {
	Clause string // as an expression
	Match  bool
}

// ExplainAudience returns whether an account is in an audience, and which parts of the
// condition are true of the account. An account that does not exist is
// [ErrUnknownAccount].
//
// Limit: 100 calls per second. Command: tidings/explain_audience, which only
// Tidings has.
func (c *Client) ExplainAudience(ctx context.Context, a Audience, account string) (*Explanation, error) {
	const command = "tidings/explain_audience"
	type request struct {
		Audience
		Account string `json:"To_Account"`
	}
	if err := checkText(command, account); err != nil {
		return nil, err
	}
	out := new(Explanation)
	if err := c.ask(ctx, command, a, request{a, account}, out); err != nil {
		return nil, err
	}
	return out, nil
}

// ListAudience iterates over the accounts of an audience as it was when the iteration
// began, asking for 1000 at a time. The iteration ends after an error. If the loop takes
// more than five minutes for 1000 accounts, that error is [ErrPageExpired].
//
// Limit: 100 pages per second. Command: tidings/list_audience, which only Tidings
// has.
func (c *Client) ListAudience(ctx context.Context, a Audience) iter.Seq2[string, error] {
	type request struct {
		Audience
		Limit int
		Next  string `json:",omitempty"`
	}
	return func(yield func(string, error) bool) {
		for next := ""; ; {
			var page struct {
				Accounts []string
				Next     string
			}
			if err := c.ask(ctx, "tidings/list_audience", a, request{a, 1000, next}, &page); err != nil {
				yield("", err)
				return
			}
			for _, account := range page.Accounts {
				if !yield(account, nil) {
					return
				}
			}
			if next = page.Next; next == "" {
				return
			}
		}
	}
}

// A ValueCount says how many users have a value of an attribute.
type ValueCount struct {
	Value string
	Count uint64
}

// AttrValues returns those values of an attribute that begin with a prefix, the values
// that most users have first. limit is the most values to return, 1 to 1000; total is
// how many there are.
//
// Limit: 100 calls per second. Command: tidings/list_attr_values, which only
// Tidings has.
func (c *Client) AttrValues(ctx context.Context, attr, prefix string, limit int) (values []ValueCount, total int, err error) {
	const command = "tidings/list_attr_values"
	if err := checkText(command, attr, prefix); err != nil {
		return nil, 0, err
	}
	in := struct {
		Attr   string
		Prefix string `json:",omitempty"`
		Limit  int
	}{attr, prefix, limit}
	var out struct {
		Values []ValueCount
		Total  int
	}
	err = c.Call(ctx, command, in, &out)
	return out.Values, out.Total, err
}

// A TagCount says how many users have a tag.
type TagCount struct {
	Tag   string
	Count uint64
	Kind  AccountKind `json:"AccountType"` // whom it is for
}

// AllTags returns those tags of users that begin with a prefix, the tags that most users
// have first. limit is the most tags to return, 1 to 1000; total is how many there are.
//
// Limit: 100 calls per second. Command: tidings/list_tags, which only Tidings
// has.
func (c *Client) AllTags(ctx context.Context, prefix string, limit int) (tags []TagCount, total int, err error) {
	const command = "tidings/list_tags"
	if err := checkText(command, prefix); err != nil {
		return nil, 0, err
	}
	in := struct {
		Prefix string `json:",omitempty"`
		Limit  int
	}{prefix, limit}
	var out struct {
		Tags  []TagCount
		Total int
	}
	err = c.Call(ctx, command, in, &out)
	return out.Tags, out.Total, err
}

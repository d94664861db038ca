package api

import (
	"context"

	"tidings/internal/apierr"
	"tidings/internal/audience"
)

// The commands of this file are ours: no document of the hosted service has
// them. They take a Condition as push does, or a Where expression.

// selection is how a request says which users it means; with neither member, all
// of an account type.
type selection struct {
	Condition   *condition
	Where       text
	AccountType *int64
}

// condition is a Condition on the wire (spec/timpush-api.md, 6.2).
type condition struct {
	TagsAnd, TagsOr, TagsNot []text
	AttrsAnd, AttrsOr        members
}

// query checks a selection against the app.
func (in *selection) query(c *caller) (q audience.Query, err error) {
	q.Attributes = &c.App.Attributes
	if in.AccountType != nil {
		if *in.AccountType != int64(audience.UserID) && *in.AccountType != int64(audience.RegistrationID) {
			return q, apierr.BadJSON.Errorf("AccountType: %d is not an account type, 0 (UserID) or 1 (RegistrationID)", *in.AccountType)
		}
		q.Kind = audience.Kind(*in.AccountType)
	}
	switch {
	case in.Condition != nil && in.Where.set:
		return q, apierr.BadJSON.Errorf("Condition and Where exclude each other")
	case in.Where.set:
		q.Expr, err = audience.ParseWhere(in.Where.value, q.Attributes)
	case in.Condition != nil:
		q.Expr, err = in.Condition.expr(q.Attributes)
	default:
		q.Expr = audience.And{}
	}
	return q, err
}

func (in *condition) expr(attrs *audience.Attributes) (audience.Expr, error) {
	var c audience.Condition
	for _, l := range []struct {
		name string
		from []text
		to   *[]string
	}{{"TagsAnd", in.TagsAnd, &c.TagsAnd}, {"TagsOr", in.TagsOr, &c.TagsOr}, {"TagsNot", in.TagsNot, &c.TagsNot}} {
		for i, tag := range l.from {
			if !tag.set {
				return nil, apierr.BadJSON.Errorf("Condition.%s[%d]: want a string, got null", l.name, i)
			}
			*l.to = append(*l.to, tag.value)
		}
	}
	for _, m := range in.AttrsAnd.list {
		c.AttrsAnd = append(c.AttrsAnd, audience.NamedValue{Name: m.name, Value: m.value})
	}
	for _, m := range in.AttrsOr.list {
		c.AttrsOr = append(c.AttrsOr, audience.NamedValue{Name: m.name, Value: m.value})
	}
	return c.Expr(attrs)
}

type estimateRequest struct {
	selection
	Sample int64
}

type estimateResponse struct {
	Count   uint64
	Clauses []clauseCount
	Sample  []string `json:",omitempty"`
}

type clauseCount struct {
	Clause string
	Count  uint64
}

// MaxSample is the most accounts that estimate_audience shows.
const MaxSample = 100

// estimateAudience counts an audience, and each clause of it on its own, at one
// moment after every change that was answered before.
func (s *Server) estimateAudience(ctx context.Context, c *caller, in *estimateRequest) (out estimateResponse, err error) {
	if in.Sample < 0 || in.Sample > MaxSample {
		return out, apierr.BadJSON.Errorf("Sample: %d is not a number from 0 to %d", in.Sample, MaxSample)
	}
	q, err := in.query(c)
	if err != nil {
		return out, err
	}
	e, err := s.users.Estimate(ctx, c.App.ID, q, int(in.Sample))
	if err != nil {
		return out, err
	}
	out.Count, out.Sample = e.Count, e.Sample
	out.Clauses = make([]clauseCount, len(e.Clauses))
	for i, cl := range e.Clauses {
		out.Clauses[i] = clauseCount(cl)
	}
	return out, nil
}

type explainRequest struct {
	selection
	Account userID `json:"To_Account"`
}

type explainResponse struct {
	Match   bool
	Clauses []clauseMatch
	Attrs   attrs
	Tags    []string
}

type clauseMatch struct {
	Clause string
	Match  bool
}

// explainAudience reports whether an account is in an audience, which clauses say
// so, and what the account has. An account that does not exist is 70107.
func (s *Server) explainAudience(ctx context.Context, c *caller, in *explainRequest) (out explainResponse, err error) {
	if !in.Account.set {
		return out, apierr.BadJSON.Errorf("To_Account is missing")
	}
	q, err := in.query(c)
	if err != nil {
		return out, err
	}
	e, err := s.users.Explain(ctx, c.App.ID, q, in.Account.value)
	if err != nil {
		return out, err
	}
	out.Match, out.Attrs, out.Tags = e.Match, attrs{q.Attributes, e.Traits.Values}, e.Traits.Tags
	out.Clauses = make([]clauseMatch, len(e.Clauses))
	for i, cl := range e.Clauses {
		out.Clauses[i] = clauseMatch(cl)
	}
	return out, nil
}

type listRequest struct {
	selection
	Limit *int64
	Next  text
}

type listResponse struct {
	Accounts []string
	Next     string `json:",omitempty"`
}

// MaxPage is the most accounts on a page of list_audience, and the most values
// that list_attr_values and list_tags show.
const MaxPage = 1000

// limit reads a Limit; absent, it is 100.
func limit(n *int64) (int, error) {
	if n == nil {
		return 100, nil
	}
	if *n < 1 || *n > MaxPage {
		return 0, apierr.BadJSON.Errorf("Limit: %d is not a number from 1 to %d", *n, MaxPage)
	}
	return int(*n), nil
}

// listAudience lists the accounts of an audience in pages, all of one moment.
// Next asks for the page after one; 95003 if that was too long ago.
func (s *Server) listAudience(ctx context.Context, c *caller, in *listRequest) (out listResponse, err error) {
	n, err := limit(in.Limit)
	if err != nil {
		return out, err
	}
	q, err := in.query(c)
	if err != nil {
		return out, err
	}
	page, err := s.users.List(ctx, c.App.ID, q, n, in.Next.value)
	out.Accounts, out.Next = page.Accounts, page.Next
	return out, err
}

type listValuesRequest struct {
	Attr   text
	Prefix text
	Limit  *int64
}

type listValuesResponse struct {
	Values []valueCount
	Total  int
}

type valueCount struct {
	Value string
	Count uint64
}

// listAttrValues lists the values of an attribute that users have, the most
// frequent first.
func (s *Server) listAttrValues(ctx context.Context, c *caller, in *listValuesRequest) (out listValuesResponse, err error) {
	n, err := limit(in.Limit)
	if err != nil {
		return out, err
	}
	if !in.Attr.set {
		return out, apierr.BadJSON.Errorf("Attr is missing")
	}
	slot := c.App.Attributes.Index(in.Attr.value)
	if slot < 0 {
		return out, apierr.InvalidAttribute.Errorf("invalid attribute: Attr names %s, which is not set with set_attr_name", clip(in.Attr.value))
	}
	top, total, err := s.users.AttrValues(ctx, c.App.ID, slot, in.Prefix.value, n)
	out.Total, out.Values = total, make([]valueCount, len(top))
	for i, v := range top {
		out.Values[i] = valueCount{v.Value, v.Count}
	}
	return out, err
}

type listTagsRequest struct {
	Prefix text
	Limit  *int64
}

type listTagsResponse struct {
	Tags  []tagCount
	Total int
}

type tagCount struct {
	Tag         string
	Count       uint64
	AccountType int
}

// listTags lists the tags that users have, the most frequent first.
func (s *Server) listTags(ctx context.Context, c *caller, in *listTagsRequest) (out listTagsResponse, err error) {
	n, err := limit(in.Limit)
	if err != nil {
		return out, err
	}
	top, total, err := s.users.Tags(ctx, c.App.ID, in.Prefix.value, n)
	out.Total, out.Tags = total, make([]tagCount, len(top))
	for i, v := range top {
		out.Tags[i] = tagCount{v.Value, v.Count, int(v.Kind)}
	}
	return out, err
}

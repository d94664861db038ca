package api

import (
	"context"

	"tidings/internal/apierr"
	"tidings/internal/audience"
	"tidings/internal/gate"
)

// The commands of this file are ours: no document of the hosted service has
// them. They take a Condition as push does, or a Where expression.

// aim is how a request says which users it means; with neither member, all.
type aim struct {
	// The condition of a push: all its members must be true. Tags and attributes exclude each other.
	Condition *condition `strict:"yes"`
	// An expression, in place of Condition.
	Where *string `note:"at most 16 KiB"`
}

// selection is an aim at an account type.
type selection struct {
	aim
	// 0 asks for UserIDs, 1 for RegistrationIDs. What names an attribute or a tag is about
	// the account type of that.
	AccountType int64 `range:"0-1"`
}

// condition is a Condition on the wire (spec/timpush-api.md, 6.2).
type condition struct {
	TagsAnd  []string     `items:"0-10"` // The user has all of these tags.
	TagsOr   []string     `items:"0-10"` // The user has at least one of these tags.
	TagsNot  []string     `items:"0-10"` // The user has none of these tags.
	AttrsAnd gate.Members `items:"0-10"` // The user has all of these values, by the name of the attribute.
	AttrsOr  gate.Members `items:"0-10"` // The user has at least one of these values.
}

// query checks a selection against the app.
func (in *selection) query(c *gate.Caller) (q audience.Query, err error) {
	q.Attributes, q.Kind = &c.App.Attributes, audience.Kind(in.AccountType)
	q.Expr, err = in.expr(q.Attributes)
	return q, err
}

// expr returns the expression of an aim; And{} is everyone.
func (in *aim) expr(attrs *audience.Attributes) (audience.Expr, error) {
	switch {
	case in.Condition != nil && in.Where != nil:
		return nil, apierr.BadJSON.Errorf("Condition and Where exclude each other")
	case in.Where != nil:
		return audience.ParseWhere(*in.Where, attrs)
	case in.Condition != nil:
		return in.Condition.expr(attrs)
	}
	return audience.And{}, nil
}

func (in *condition) expr(attrs *audience.Attributes) (audience.Expr, error) {
	c := audience.Condition{
		TagsAnd: in.TagsAnd, TagsOr: in.TagsOr, TagsNot: in.TagsNot,
		AttrsAnd: namedValues(in.AttrsAnd), AttrsOr: namedValues(in.AttrsOr),
	}
	return c.Expr(attrs)
}

func namedValues(members gate.Members) []audience.NamedValue {
	values := make([]audience.NamedValue, len(members))
	for i, m := range members {
		values[i] = audience.NamedValue(m)
	}
	return values
}

type estimateRequest struct {
	selection
	// How many accounts to show, spread over the audience.
	Sample int64 `range:"0-100"`
}

// The most accounts that estimate_audience shows, and the most on a page of
// list_audience and of the lists of values and tags. The ranges in the requests say the
// same.
const (
	MaxSample = 100
	MaxPage   = 1000
)

type estimateResponse struct {
	Count   uint64        // How many users are in the audience.
	Clauses []clauseCount // The parts that must all be true: the one that empties an audience shows.
	Sample  []string      `json:",omitempty"` // Some accounts of the audience, if they were asked for.
}

type clauseCount struct {
	Clause string // The part as an expression.
	Count  uint64 // How many users it selects on its own.
}

// estimateAudience counts an audience, and each clause of it on its own, at one moment
// after every change that was answered before.
func (s *Server) estimateAudience(ctx context.Context, c *gate.Caller, in *estimateRequest) (out estimateResponse, err error) {
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
	Account string `json:"To_Account" need:"yes" account:"yes"` // The account to look at.
}

type explainResponse struct {
	Match   bool          // Whether the account is in the audience.
	Clauses []clauseMatch // The parts that must all be true.
	Attrs   attrs         // The values of the account by the name of the attribute.
	Tags    []string      // The tags of the account.
}

type clauseMatch struct {
	Clause string // The part as an expression.
	Match  bool   // Whether it is true of the account.
}

// explainAudience reports whether an account is in an audience, which clauses decide it,
// and what the account has.
func (s *Server) explainAudience(ctx context.Context, c *gate.Caller, in *explainRequest) (out explainResponse, err error) {
	q, err := in.query(c)
	if err != nil {
		return out, err
	}
	e, err := s.users.Explain(ctx, c.App.ID, q, in.Account)
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
	Limit int64  `range:"1-1000" default:"100"` // How many accounts are on a page.
	Next  string // Next of the answer with the page before. It is absent for the first page.
}

type listResponse struct {
	Accounts []string // The accounts of the page.
	Next     string   `json:",omitempty"` // The token of the next page, which is absent on the last one.
}

// listAudience lists the accounts of an audience in pages, all of one moment.
func (s *Server) listAudience(ctx context.Context, c *gate.Caller, in *listRequest) (out listResponse, err error) {
	q, err := in.query(c)
	if err != nil {
		return out, err
	}
	page, err := s.users.List(ctx, c.App.ID, q, int(in.Limit), in.Next)
	out.Accounts, out.Next = page.Accounts, page.Next
	return out, err
}

type listValuesRequest struct {
	Attr   string `need:"yes"` // The name of the attribute.
	Prefix string // Only values that begin with it.
	Limit  int64  `range:"1-1000" default:"100"` // How many values to list.
}

type listValuesResponse struct {
	Values []valueCount // The values.
	Total  int          // How many values there are, with those that are not listed.
}

type valueCount struct {
	Value string // The value.
	Count uint64 // How many users have it.
}

// listAttrValues lists the values of an attribute that users have, the most
// frequent first.
func (s *Server) listAttrValues(ctx context.Context, c *gate.Caller, in *listValuesRequest) (out listValuesResponse, err error) {
	slot := c.App.Attributes.Index(in.Attr)
	if slot < 0 {
		return out, apierr.InvalidAttribute.Errorf("invalid attribute: Attr names %s, which is not set with set_attr_name", gate.Quote(in.Attr))
	}
	top, total, err := s.users.AttrValues(ctx, c.App.ID, slot, in.Prefix, int(in.Limit))
	out.Total, out.Values = total, make([]valueCount, len(top))
	for i, v := range top {
		out.Values[i] = valueCount{v.Value, v.Count}
	}
	return out, err
}

type listTagsRequest struct {
	Prefix string // Only tags that begin with it.
	Limit  int64  `range:"1-1000" default:"100"` // How many tags to list.
}

type listTagsResponse struct {
	Tags  []tagCount // The tags.
	Total int        // How many tags there are, with those that are not listed.
}

type tagCount struct {
	Tag         string // The tag.
	Count       uint64 // How many users have it.
	AccountType int    // Whom the tag is for: 0 for UserIDs, 1 for RegistrationIDs.
}

// listTags lists the tags that users have, the most frequent first.
func (s *Server) listTags(ctx context.Context, c *gate.Caller, in *listTagsRequest) (out listTagsResponse, err error) {
	top, total, err := s.users.Tags(ctx, c.App.ID, in.Prefix, int(in.Limit))
	out.Total, out.Tags = total, make([]tagCount, len(top))
	for i, v := range top {
		out.Tags[i] = tagCount{v.Value, v.Count, int(v.Kind)}
	}
	return out, err
}

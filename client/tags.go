package client

import "context"

// UserTags are tags of one account.
type UserTags struct {
	Account string   `json:"To_Account"` // UserID or RegistrationID
	Tags    []string // of 1 to 50 bytes each
}

// AddTags adds tags to users, at most 10 to each. A tag that a user has already is no
// error. If a tag is empty or too long, or a user gets too many, the whole request is
// refused with [ErrEmptyTag], [ErrTagTooLong] or [ErrTooManyTags] and changes nothing.
// Accounts that do not exist, would have more than 100 tags, or are of another kind than
// a tag, are reported in [*AccountErrors].
//
// Limit: 100 requests per second, of [MaxUsers] users each. Command:
// timpush/add_tag.
func (c *Client) AddTags(ctx context.Context, users []UserTags) error {
	return c.changeTags(ctx, "timpush/add_tag", users, 0)
}

// ReplaceTags is like [Client.AddTags], but a user has the given tags afterwards and no
// others. Each user may get 100.
//
// Limit: 100 requests per second, of [MaxUsers] users each. Command:
// timpush/add_tag with Replace 1.
func (c *Client) ReplaceTags(ctx context.Context, users []UserTags) error {
	return c.changeTags(ctx, "timpush/add_tag", users, 1)
}

// RemoveTags takes tags away from users. A tag that a user does not have is no error.
// Accounts that do not exist are reported in [*AccountErrors].
//
// Limit: 100 requests per second, of [MaxUsers] users each. Command:
// timpush/remove_tag.
func (c *Client) RemoveTags(ctx context.Context, users []UserTags) error {
	return c.changeTags(ctx, "timpush/remove_tag", users, 0)
}

func (c *Client) changeTags(ctx context.Context, command string, users []UserTags, replace int) error {
	type request struct {
		Replace  int `json:",omitempty"`
		UserTags []UserTags
	}
	users = append([]UserTags(nil), users...)
	for i, u := range users {
		if err := checkText(command, append([]string{u.Account}, u.Tags...)...); err != nil {
			return err
		}
		if u.Tags == nil {
			users[i].Tags = []string{} // null would be a missing member
		}
	}
	return inChunks(users, func(chunk []UserTags) error {
		return c.Call(ctx, command, request{replace, chunk}, nil)
	})
}

// ClearTags takes all tags of accounts away. Accounts that do not exist are
// reported in [*AccountErrors].
//
// Limit: 100 requests per second, of [MaxUsers] accounts each. Command:
// timpush/clear_all_tags.
func (c *Client) ClearTags(ctx context.Context, accounts []string) error {
	const command = "timpush/clear_all_tags"
	if err := checkText(command, accounts...); err != nil {
		return err
	}
	return inChunks(accounts, func(chunk []string) error {
		return c.Call(ctx, command, accountsRequest{chunk}, nil)
	})
}

// Tags returns the tags of accounts, in the order of the list. Accounts that do not exist
// are left out, and reported in an [*AccountErrors] that is returned together with the
// others.
//
// Limit: 100 requests per second, of [MaxUsers] accounts each. Command:
// timpush/get_tag.
func (c *Client) Tags(ctx context.Context, accounts []string) ([]UserTags, error) {
	const command = "timpush/get_tag"
	if err := checkText(command, accounts...); err != nil {
		return nil, err
	}
	var users []UserTags
	err := inChunks(accounts, func(chunk []string) error {
		var out struct{ UserTags []UserTags }
		err := c.Call(ctx, command, accountsRequest{chunk}, &out)
		users = append(users, out.UserTags...)
		return err
	})
	return users, err
}

// accountsRequest is the body of commands that only name accounts.
type accountsRequest struct {
	Account []string `json:"To_Account"`
}

package awsapi

import (
	"context"
	"errors"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// A Pager is one of the SDK's paginators.
type Pager[Page, Options any] interface {
	HasMorePages() bool
	NextPage(ctx context.Context, opts ...func(*Options)) (Page, error)
}

// ErrPaging is returned for a list whose pages repeat.
var ErrPaging = errors.New("the pages of the list do not end")

// EachPage calls do with every page. Do returns the token of the next page. A
// list whose last page has a token repeats itself, which is an error. The options
// are those of the calls.
func EachPage[Page, Options any](ctx context.Context, pages Pager[Page, Options], do func(Page) (next *string), opts ...func(*Options)) error {
	var next *string
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx, opts...)
		if err != nil {
			return err
		}
		next = do(page)
	}
	if aws.ToString(next) != "" {
		return ErrPaging
	}
	return nil
}

// callsAtOnce limits the concurrent calls of ForEach.
const callsAtOnce = 8

// ForEach calls f for each item, several at a time, and joins the errors.
func ForEach[T any](items []T, f func(T) error) error {
	errs := make([]error, len(items))
	queue := make(chan int)
	var wg sync.WaitGroup
	for range min(len(items), callsAtOnce) {
		wg.Go(func() {
			for i := range queue {
				errs[i] = f(items[i])
			}
		})
	}
	for i := range items {
		queue <- i
	}
	close(queue)
	wg.Wait()
	return errors.Join(errs...)
}

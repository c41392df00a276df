package gormstore

import (
	"context"
	"slices"

	"gorm.io/gorm"

	"github.com/doorbell-sync/doorbell/pkg/feed"
	"github.com/doorbell-sync/doorbell/pkg/store"
)

// headsChunk keeps a statement's parameters well below every database's limit, and is a shape (see smallShape).
const headsChunk = 4096

// Heads reads the heads of many feeds, in the order of names.
func (s *Store) Heads(ctx context.Context, names []feed.Name) ([]feed.Cursor, error) {
	found := make(map[string]feed.Cursor, len(names))
	err := s.inRead(ctx, "read heads", func(tx *gorm.DB) error {
		for chunk := range slices.Chunk(names, headsChunk) {
			texts := make([]string, len(chunk))
			for i, name := range chunk {
				texts[i] = string(name)
			}
			var rows []feedRow
			if err := tx.Select("name", "epoch", "head").Where("name IN ?", fewShapes(texts)).Find(&rows).Error; err != nil {
				return err
			}
			for _, row := range rows {
				found[row.Name] = row.head()
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	heads := make([]feed.Cursor, len(names))
	for i, name := range names {
		heads[i] = found[string(name)]
	}
	return heads, nil
}

// Feeds lists up to limit feeds with names after the given one, by name in byte order.
func (s *Store) Feeds(ctx context.Context, after feed.Name, limit int) ([]store.Listed, error) {
	var rows []feedRow
	err := s.inRead(ctx, "list feeds", func(tx *gorm.DB) error {
		return tx.Select("name", "epoch", "head").
			Where("name > ?", string(after)).Order("name").Limit(limit).Find(&rows).Error
	})
	if err != nil {
		return nil, err
	}
	return listedOf(rows), nil
}

func listedOf(rows []feedRow) []store.Listed {
	listed := make([]store.Listed, len(rows))
	for i, row := range rows {
		listed[i] = store.Listed{Name: feed.Name(row.Name), Head: row.head()}
	}
	return listed
}

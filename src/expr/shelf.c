/* The shelf: a list from the least to the most lately used. */
#include "expr/expr.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

#include <stdlib.h>

struct book {
    struct list link;
    struct expr *expr;
    struct bytes program;      /* owned; the map's key */
};

struct expr_shelf {
    struct list books;
    struct map by_program;
};

struct expr_shelf *expr_shelf_new(void)
{
    struct expr_shelf *shelf = MEM_NEW(struct expr_shelf);
    list_init(&shelf->books);
    return shelf;
}

static void book_drop(struct expr_shelf *shelf, struct book *book)
{
    map_take_text(&shelf->by_program, book->program);
    list_leave(&book->link);
    expr_free(book->expr);
    free((char *)book->program.at);
    free(book);
}

struct expr *expr_shelf_get(struct expr_shelf *shelf, struct bytes program, struct problem *problem)
{
    struct book *book = map_get_text(&shelf->by_program, program);
    if (!book) {
        struct expr *expr = expr_compile(program, NULL, problem);
        if (!expr)
            return NULL;
        if (shelf->by_program.count >= EXPR_SHELF_MAX)
            book_drop(shelf, LIST_OF(shelf->books.next, struct book, link));
        book = MEM_NEW(struct book);
        list_init(&book->link);
        book->expr = expr;
        book->program = (struct bytes){mem_copy(program.at, program.count), program.count};
        map_set_text(&shelf->by_program, book->program, book);
    }
    list_leave(&book->link);
    list_push(&shelf->books, &book->link);
    return book->expr;
}

void expr_shelf_free(struct expr_shelf *shelf)
{
    if (!shelf)
        return;
    while (!list_empty(&shelf->books))
        book_drop(shelf, LIST_OF(shelf->books.next, struct book, link));
    map_done(&shelf->by_program);
    free(shelf);
}

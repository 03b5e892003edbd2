# orders.awk - writes an SQL session like that of a small shop: a schema with indices, customers and orders that
# arrive one statement at a time, look-ups, joins, updates, deletions, reports, and a vacuum. The same on every run.

function rnd(n) { seed = (seed * 16807) % 2147483647; return int(seed / 2147483647 * n) }
function word(n,   s, i) { s = ""; for (i = 0; i < n; i++) s = s substr("abcdefghijklmnopqrstuvwxyz", 1 + rnd(26), 1); return s }

BEGIN {
    seed = 20240229
    customers = 2500; orders = 400
    print "pragma foreign_keys = on;"
    print "create table customer(id integer primary key, name text not null, city text, since int, note text);"
    print "create table purchase(id integer primary key, customer int not null references customer(id), day int, total real, state text);"
    print "create table item(purchase int not null references purchase(id) on delete cascade, product text, amount int, price real);"
    print "create index purchase_by_customer on purchase(customer, day);"
    print "create index item_by_purchase on item(purchase);"
    print "create index item_by_product on item(product, amount);"
    print "create view turnover as select c.city, p.day / 30 as month, sum(p.total) as total from customer c join purchase p on p.customer = c.id group by c.city, month;"
    print "create trigger item_added after insert on item begin update purchase set total = total + new.amount * new.price where id = new.purchase; end;"
    for (i = 1; i <= customers; i++)
        printf "insert into customer values(%d, '%s %s', '%s', %d, '%s');\n", i, word(4 + rnd(6)), word(5 + rnd(9)), "town" rnd(40), rnd(3000), word(rnd(700))
    for (i = 1; i <= orders; i++) {
        if (i % 20 == 1) print "begin;"
        printf "insert into purchase values(%d, %d, %d, 0, 'open');\n", i, 1 + rnd(customers), int(i / 8)
        for (j = rnd(5); j >= 0; j--)
            printf "insert into item values(%d, 'product-%d', %d, %d.%02d);\n", i, rnd(400), 1 + rnd(9), rnd(200), rnd(100)
        if (rnd(3) == 0)
            printf "update purchase set state = 'sent' where id = %d and state = 'open';\n", 1 + rnd(i)
        if (rnd(4) == 0)
            printf "select c.name, p.id, p.total, count(*) from customer c join purchase p on p.customer = c.id join item i on i.purchase = p.id where c.id = %d group by p.id order by p.day desc limit 5;\n", 1 + rnd(customers)
        if (rnd(60) == 0)
            printf "delete from purchase where customer = %d and state = 'sent' and day < %d;\n", 1 + rnd(customers), int(i / 8) - 30
        if (i % 20 == 0) print rnd(12) ? "commit;" : "rollback;"
        if (i % 200 == 0) {
            print "select city, month, printf('%.2f', total) from turnover order by total desc limit 10;"
            print "select product, sum(amount) as sold, group_concat(distinct purchase) from item group by product having sold > 40 order by sold desc limit 8;"
            print "with recursive days(d) as (select 0 union all select d + 1 from days where d < 60) select d, (select count(*) from purchase where day = d) from days;"
        }
    }
    print "select name, length(note), upper(substr(note, 1, 20)) from customer where note like '%qu%' order by name collate nocase;"
    print "delete from customer where id not in (select customer from purchase);"
    print "create table archive as select * from purchase where day < 100;"
    print "drop index item_by_product;"
    print "vacuum;"
    print "pragma integrity_check;"
}

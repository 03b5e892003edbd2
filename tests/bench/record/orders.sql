-- orders.sql - inserts, joins, text functions and deletes in memory: some 7.5 million calls.
create table customer(id integer primary key, name text, city text);
create table orders(id integer primary key, customer int, item text, price real);
with recursive n(x) as (select 1 union all select x + 1 from n where x < 80000)
  insert into customer select x, 'customer ' || x, 'city ' || (x * 7919 % 300) from n;
with recursive n(x) as (select 1 union all select x + 1 from n where x < 600000)
  insert into orders select x, x * 104729 % 80000 + 1, 'item ' || (x * 31 % 9973), (x % 1000) / 7.0 from n;
create index by_customer on orders(customer);
select count(*), sum(length(upper(item) || printf('%08.2f', price))) from orders;
select city, count(*), sum(price), group_concat(distinct substr(item, 1, 7)) from orders join customer on customer.id = orders.customer
  where orders.id % 3 = 0 group by city order by 3 desc limit 5;
update orders set item = replace(item, 'item', 'thing') where id % 2 = 0;
delete from orders where customer % 5 = 0;
select count(distinct item) from orders;
